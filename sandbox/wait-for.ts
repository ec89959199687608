import { setTimeout as sleep } from "node:timers/promises";

/** The first pause between two probes, and the longest: the cloud counts requests, and refuses too many. */
const PAUSE_MILLISECONDS = { first: 20, longest: 250 };

/**
 * Polls until a state is reached, and returns what `probe` then returns.
 *
 * @param what completes the sentence "waited 10 s for", for example "the droplet to be off"
 * @param probe returns false or throws as long as the state is not reached; anything else, also nothing, ends the wait
 * @throws Error that names `what`, the seconds, and the error of the last probe
 */
export async function waitFor<T>(
  what: string,
  seconds: number,
  probe: () => T | Promise<T>,
): Promise<Exclude<T, false>> {
  const deadline = Date.now() + seconds * 1000;
  for (let pause = PAUSE_MILLISECONDS.first; ; pause = Math.min(2 * pause, PAUSE_MILLISECONDS.longest)) {
    let cause: unknown;
    try {
      const seen = await probe();
      if (seen !== false) return seen as Exclude<T, false>;
    } catch (error) {
      cause = error;
    }
    if (Date.now() > deadline) {
      const last = cause instanceof Error ? `; last: ${String(cause)}` : "";
      throw new Error(`waited ${seconds} s for ${what}${last}`, { cause });
    }
    await sleep(pause);
  }
}
