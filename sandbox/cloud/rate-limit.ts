/** Requests an account may make; DigitalOcean's own limits unless a test sets others. */
export interface RateLimits {
  perHour: number;
  perMinute: number;
}

export const RATE_LIMITS: RateLimits = { perHour: 5000, perMinute: 250 };

const MINUTE = 60;
const HOUR = 3600;

/**
 * Counts requests in a sliding hour and a sliding minute.
 *
 * The API reference says under "Rate Limit" how either limit shows: `ratelimit-remaining` is zero, also where it is the
 * minute's that was met, and `retry-after` is "returned only within burst limit error response headers". So a client
 * waits for a minute to be over, and gives up on an hour.
 */
export class RateLimiter {
  readonly #limits: RateLimits;
  /** When each request of the last hour came, in seconds, oldest first. */
  #requests: number[] = [];

  constructor(limits: RateLimits) {
    this.#limits = limits;
  }

  /** Counts one request made `now` (seconds since the epoch) and returns what the answer's headers say. */
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

  /** What the headers say of a request that is not counted. */
  headers(now: number): Record<string, string> {
    const counted = this.#requests.filter((time) => time > now - HOUR);
    return {
      "ratelimit-limit": String(this.#limits.perHour),
      "ratelimit-remaining": String(Math.max(0, this.#limits.perHour - counted.length)),
      // When the oldest request counted leaves the hour.
      "ratelimit-reset": String(Math.ceil((counted[0] ?? now) + HOUR)),
    };
  }
}
