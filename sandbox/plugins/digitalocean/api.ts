import { isIP } from "node:net";
import type { Clock } from "../framework/state-change.ts";

/** The client's settings. Waits are in seconds, as in the provider's settings. */
export interface ApiSettings {
  apiEndpoint: string;
  token?: string | undefined;
  httpRetryMax: number;
  httpRetryWaitMin: number;
  httpRetryWaitMax: number;
}

/** An answer outside 2xx, with the official client's text. */
export class ApiError extends Error {
  readonly status: number;

  constructor(method: string, url: URL, status: number, body: unknown, attempts: number) {
    const { message, request_id: requestId } = (body ?? {}) as { message?: string; request_id?: string };
    const request = requestId === undefined ? "" : ` (request "${requestId}")`;
    const givenUp = attempts > 1 ? `; giving up after ${attempts} attempt(s)` : "";
    super(`${method} ${url.href}: ${status}${request} ${message ?? ""}${givenUp}`);
    this.status = status;
  }
}

/**
 * Checks that the endpoint is on this computer. The stand-in only knows the simulator's answers, and was never tested on
 * the droplets and volumes of a real account.
 *
 * @param setting  where the endpoint comes from, for the message
 */
export function checkEndpoint(endpoint: string, setting = "apiEndpoint"): void {
  const host = URL.parse(endpoint)?.hostname.replace(/^\[(.*)\]$/, "$1") ?? "";
  const loopback = host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
  if (!loopback) {
    throw new Error(
      `${setting}: ${endpoint} is not an address of this computer, it should be the sandbox's cloud simulator ` +
        "(http://127.0.0.1:PORT). This plugin is the sandbox's stand-in and never touches a real account: " +
        "install the official plugin with `pulumi plugin install resource digitalocean` in your own PULUMI_HOME.",
    );
  }
}

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** A client for DigitalOcean's API v2: JSON, a bearer token, and the retries of the official client. */
export class Api {
  readonly #settings: ApiSettings;
  readonly #clock: Clock;

  constructor(settings: ApiSettings, clock: Clock) {
    checkEndpoint(settings.apiEndpoint);
    this.#settings = settings;
    this.#clock = clock;
  }

  /**
   * Sends one request. Retries it after 429, 5xx and connection errors, up to `httpRetryMax` times. Nothing ends that
   * early, because the official client gets no context.
   *
   * @param path below the endpoint's root, `/v2/…`; a path in the endpoint is ignored, as in the official client
   * @throws {ApiError} for any other answer outside 2xx, or after the last retry
   */
  async request<T>(method: Method, path: string, body?: unknown): Promise<T> {
    const url = new URL(path, this.#settings.apiEndpoint);
    for (let attempt = 0; ; attempt++) {
      const last = attempt >= this.#settings.httpRetryMax;
      let response: Response;
      try {
        response = await fetch(url, {
          method,
          headers: { authorization: `Bearer ${this.#settings.token ?? ""}`, "content-type": "application/json" },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        });
      } catch (error) {
        if (last) throw connectionError(method, url, error);
        await this.#clock.sleep(this.#backoff(attempt));
        continue;
      }
      const answer = await readJson(response);
      if (response.ok) return answer as T;
      if (last || !isRetried(response.status)) {
        throw new ApiError(method, url, response.status, answer, attempt + 1);
      }
      await this.#clock.sleep(retryAfter(response) ?? this.#backoff(attempt));
    }
  }

  /** Milliseconds before attempt `attempt + 2`: the shortest wait, doubled each time, up to the longest. */
  #backoff(attempt: number): number {
    return Math.min(this.#settings.httpRetryWaitMin * 2 ** attempt, this.#settings.httpRetryWaitMax) * 1000;
  }
}

function isRetried(status: number): boolean {
  // After a 501, a retry is useless.
  return status === 429 || (status >= 500 && status !== 501);
}

function retryAfter(response: Response): number | undefined {
  if (response.status !== 429 && response.status !== 503) return undefined;
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  return Number.isFinite(seconds) ? seconds * 1000 : undefined;
}

async function readJson(response: Response): Promise<unknown> {
  const text = await response.text();
  try {
    return text === "" ? {} : JSON.parse(text);
  } catch {
    return { message: text.slice(0, 200) };
  }
}

/** With the text of Go's client. */
function connectionError(method: Method, url: URL, error: unknown): Error {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : (error as Error);
  const refused = (cause as NodeJS.ErrnoException).code === "ECONNREFUSED";
  const reason = refused ? `dial tcp ${url.host}: connect: connection refused` : cause.message;
  const verb = method.charAt(0) + method.slice(1).toLowerCase();
  return new Error(`${verb} "${url.href}": ${reason}`, { cause: error });
}
