import type { FastifyRequest } from "fastify";

/** The API's URL for a client, `http://<host>:<port>`, from the client's request. */
export function apiUrl(request: FastifyRequest): string {
  return `${request.protocol}://${request.host}`;
}

/** The value of one query parameter; undefined if absent or empty. */
export function queryParameter(request: FastifyRequest, name: string): string | undefined {
  return new URL(request.url, apiUrl(request)).searchParams.get(name) || undefined;
}

/**
 * One page of a list under its key, with `links.pages` and `meta.total`. `page` counts from 1; `per_page` is 20 by
 * default and 200 at most. The links keep the request's other parameters.
 */
export function paginate<T, K extends string>(request: FastifyRequest, key: K, items: readonly T[]) {
  const perPage = Math.min(positive(queryParameter(request, "per_page"), 20), 200);
  const page = positive(queryParameter(request, "page"), 1);
  const last = Math.max(Math.ceil(items.length / perPage), 1);

  const link = (target: number) => {
    const url = new URL(request.url, apiUrl(request));
    url.searchParams.set("page", String(target));
    url.searchParams.set("per_page", String(perPage));
    return url.href;
  };
  const pages = {
    ...(page > 1 && { first: link(1), prev: link(page - 1) }),
    ...(page < last && { next: link(page + 1), last: link(last) }),
  };
  return {
    [key]: items.slice((page - 1) * perPage, page * perPage),
    links: Object.keys(pages).length > 0 ? { pages } : {},
    meta: { total: items.length },
  } as Record<K, T[]> & { links: { pages?: Record<string, string> }; meta: { total: number } };
}

function positive(text: string | undefined, fallback: number): number {
  const value = Number(text);
  return Number.isSafeInteger(value) && value > 0 ? value : fallback;
}
