import type { AddressInfo } from "node:net";

import Fastify, { type FastifyInstance } from "fastify";

/** A comment on GitHub. */
export interface Comment {
  id: number;
  body: string;
  user: { login: string };
}

/** An issue on GitHub; a pull request is an issue with `pull_request`. */
export interface Issue extends Comment {
  number: number;
  title: string;
  state: string;
  state_reason?: string;
  pull_request?: object;
  comments: Comment[];
}

export const BOT = { login: "github-actions[bot]" };
const NAME = "acme/convex";

/** The part of GitHub's API that the workflows call, in memory: with pages, a check of the token, and a record of changes. */
export class GitHub implements AsyncDisposable {
  readonly issues: Issue[] = [];
  /** Each call that changes something, as `METHOD path`. */
  readonly changes: string[] = [];
  readonly token = "a-token-of-a-run";
  #server: FastifyInstance;
  #next = 1;

  private constructor() {
    this.#server = Fastify();
    this.#server.addHook("onRequest", async (request, reply) => {
      if (request.headers.authorization !== `token ${this.token}`) {
        await reply.code(401).send({ message: "Bad credentials" });
      } else if (request.method !== "GET") {
        this.changes.push(`${request.method} ${request.url}`);
      }
    });
    this.#route();
  }

  static async start(): Promise<GitHub> {
    const github = new GitHub();
    await github.#server.listen({ port: 0, host: "127.0.0.1" });
    return github;
  }

  /** GitHub's variables in the environment of a runner's steps. */
  get environment(): Record<string, string> {
    const { port } = this.#server.server.address() as AddressInfo;
    return {
      GITHUB_API_URL: `http://127.0.0.1:${port}`,
      GITHUB_SERVER_URL: "https://github.example",
      GITHUB_REPOSITORY: NAME,
      GITHUB_RUN_ID: "42",
    };
  }

  /** Adds an issue, or a pull request if it has `pull_request`. */
  addIssue(issue: Partial<Issue>): Issue {
    const number = this.#next++;
    const added = { id: number, number, title: "", body: "", state: "open", user: BOT, comments: [], ...issue };
    this.issues.push(added);
    return added;
  }

  addComment(issue: Issue, comment: Partial<Comment>): Comment {
    const added = { id: this.#next++, body: "", user: BOT, ...comment };
    issue.comments.push(added);
    return added;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.close();
  }

  #route(): void {
    const base = `/repos/${NAME}/issues`;
    interface Call {
      Params: { id: string };
      Querystring: { page?: string; per_page?: string; state?: string };
      Body: Partial<Issue>;
    }
    const issue = (id: string) => {
      const found = this.issues.find(({ number }) => number === Number(id));
      if (found === undefined) throw Object.assign(new Error("Not Found"), { statusCode: 404 });
      return found;
    };
    const page = <T>(all: T[], url: string, query: Call["Querystring"]): { items: T[]; link: string } => {
      const [number, size] = [Number(query.page ?? 1), Number(query.per_page ?? 30)];
      const next = new URL(url, this.environment["GITHUB_API_URL"]);
      next.searchParams.set("page", String(number + 1));
      return {
        items: all.slice((number - 1) * size, number * size),
        link: number * size < all.length ? `<${next.href}>; rel="next"` : "",
      };
    };

    this.#server.get<Call>(base, (request, reply) => {
      const all = this.issues.filter(({ state }) => state === (request.query.state ?? "open"));
      const { items, link } = page(all, request.url, request.query);
      return reply.header("link", link).send(items);
    });
    this.#server.get<Call>(`${base}/:id/comments`, (request, reply) => {
      const { items, link } = page(issue(request.params.id).comments, request.url, request.query);
      return reply.header("link", link).send(items);
    });
    this.#server.post<Call>(base, (request, reply) => reply.code(201).send(this.addIssue(request.body)));
    this.#server.patch<Call>(`${base}/:id`, ({ params, body }) => Object.assign(issue(params.id), body));
    this.#server.post<Call>(`${base}/:id/comments`, ({ params, body }, reply) =>
      reply.code(201).send(this.addComment(issue(params.id), body)),
    );
    this.#server.patch<Call>(`${base}/comments/:id`, ({ params, body }) => {
      const comment = this.issues.flatMap(({ comments }) => comments).find(({ id }) => id === Number(params.id));
      if (comment === undefined) throw Object.assign(new Error("Not Found"), { statusCode: 404 });
      return Object.assign(comment, body);
    });
  }
}
