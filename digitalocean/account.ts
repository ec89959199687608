/** DigitalOcean has refused a call. */
export class RefusedError extends Error {
  readonly status: number;

  constructor(status: number, call: string) {
    super(`DigitalOcean: answered ${status} to ${call}`);
    this.name = "RefusedError";
    this.status = status;
  }
}

/** The API's largest page of a list. */
const PAGE = 200;

/** A DigitalOcean account, through its API, for questions that Pulumi's provider does not answer. */
export class Account {
  readonly #token: string;
  readonly #endpoint: string;

  /** @param endpoint  the API's address; by default DIGITALOCEAN_API_URL of the environment, otherwise DigitalOcean's */
  constructor(token: string, endpoint = process.env["DIGITALOCEAN_API_URL"] ?? "https://api.digitalocean.com") {
    this.#token = token;
    this.#endpoint = endpoint;
  }

  /**
   * One call. It fails after 30 seconds.
   *
   * @throws RefusedError if the answer is not a success
   */
  async ask<T>(method: string, route: string, body?: object): Promise<T> {
    const response = await fetch(new URL(route, this.#endpoint), {
      method,
      headers: { authorization: `Bearer ${this.#token}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    });
    if (!response.ok) throw new RefusedError(response.status, `${method} ${route}`);
    return (response.status === 204 ? undefined : await response.json()) as T;
  }

  /**
   * All entries of a list, from all its pages.
   *
   * @param key  the answer's property with the list
   */
  async list<T>(route: string, key: string): Promise<T[]> {
    const items: T[] = [];
    let next: string | undefined = `${route}${route.includes("?") ? "&" : "?"}per_page=${PAGE}`;
    while (next !== undefined) {
      const page: Record<string, T[] | null> & { links?: { pages?: { next?: string } } } = await this.ask("GET", next);
      items.push(...(page[key] ?? []));
      const url: string | undefined = page.links?.pages?.next;
      next = url === undefined ? undefined : `${new URL(url).pathname}${new URL(url).search}`;
    }
    return items;
  }
}
