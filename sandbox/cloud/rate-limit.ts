/** Requests an account may make; DigitalOcean's own limits unless a test sets others. */
export interface RateLimits {
  perHour: number;
  perMinute: number;
}

export const RATE_LIMITS: RateLimits = { perHour: 5000, perMinute: 250 };

const MINUTE = 60;
const HOUR = 3600;

/** Counts requests in a sliding hour and a sliding minute. */
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
    const lastMinute = this.#requests.filter((time) => time > now - MINUTE);
    const waits = [
      wait(this.#requests, this.#limits.perHour, HOUR, now),
      wait(lastMinute, this.#limits.perMinute, MINUTE, now),
    ];
    const retryAfter = Math.max(...waits);
    const admitted = retryAfter === 0;
    if (admitted) this.#requests.push(now);
    return {
      admitted,
      headers: {
        "ratelimit-limit": String(this.#limits.perHour),
        "ratelimit-remaining": String(Math.max(0, this.#limits.perHour - this.#requests.length)),
        // When the oldest request counted leaves the hour.
        "ratelimit-reset": String(Math.ceil((this.#requests[0] ?? now) + HOUR)),
        ...(!admitted && { "retry-after": String(Math.ceil(retryAfter)) }),
      },
    };
  }
}

/** Seconds until a window that holds these requests has room for one more. */
function wait(requests: number[], limit: number, window: number, now: number): number {
  const oldest = requests[requests.length - limit];
  return oldest === undefined ? 0 : oldest + window - now;
}
