/** How many requests an account may make. */
export interface RateLimits {
  perHour: number;
  perMinute: number;
}

/** DigitalOcean's limits. */
export const RATE_LIMITS: RateLimits = { perHour: 5000, perMinute: 250 };

const MINUTE = 60;
const HOUR = 3600;

/**
 * Counts requests in a sliding hour and a sliding minute.
 *
 * The API reference, "Rate Limit": `ratelimit-remaining` is zero for both limits, and `retry-after` is "returned only
 * within burst limit error response headers". So a client waits for the end of the minute, but not of the hour.
 */
export class RateLimiter {
  readonly #limits: RateLimits;
  /** The times of the last hour's requests, in seconds, oldest first. */
  #requests: number[] = [];

  constructor(limits: RateLimits) {
    this.#limits = limits;
  }

  /** Counts one request at `now` (seconds since the epoch), and returns the answer's headers. */
  take(now: number): { headers: Record<string, string>; admitted: boolean } {
    this.#requests = this.#requests.filter((time) => time > now - HOUR);
    const minute = this.#requests.filter((time) => time > now - MINUTE);
    const hourIsFull = this.#requests.length >= this.#limits.perHour;
    const oldestTooMany = minute[minute.length - this.#limits.perMinute];
    const admitted = !hourIsFull && oldestTooMany === undefined;
    if (admitted) this.#requests.push(now);
    return {
      admitted,
      headers: {
        ...this.headers(now),
        ...(!admitted && { "ratelimit-remaining": "0" }),
        ...(!hourIsFull &&
          oldestTooMany !== undefined && { "retry-after": String(Math.ceil(oldestTooMany + MINUTE - now)) }),
      },
    };
  }

  /** The headers for a request that is not counted. */
  headers(now: number): Record<string, string> {
    const counted = this.#requests.filter((time) => time > now - HOUR);
    return {
      "ratelimit-limit": String(this.#limits.perHour),
      "ratelimit-remaining": String(Math.max(0, this.#limits.perHour - counted.length)),
      // An hour after the oldest counted request.
      "ratelimit-reset": String(Math.ceil((counted[0] ?? now) + HOUR)),
    };
  }
}
