import { setTimeout } from "node:timers/promises";

/** A clock, which tests of long waits replace. */
export interface Clock {
  /** Milliseconds since some fixed time. */
  now(): number;
  /** Rejects early, with the signal's reason, if the signal aborts. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  sleep: async (milliseconds, signal) => {
    await setTimeout(milliseconds, undefined, { signal }).catch(() => {
      signal?.throwIfAborted();
    });
  },
};

/** A wait for a state; times are in seconds. */
export interface StateChange {
  /** The state now; undefined means "not found". */
  refresh: () => Promise<string | undefined>;
  /** The states before the target; any other state fails. */
  pending: readonly string[];
  target: string;
  /** The pause before the first look. */
  delay: number;
  /** The shortest gap between two looks. */
  minTimeout: number;
  timeout: number;
  /** How often in a row "not found" is accepted; 20 by default. */
  notFoundChecks?: number;
}

const LONGEST_GAP = 10;

/**
 * Waits as Terraform providers do, with the pauses and messages of `retry.StateChangeConf` in terraform-plugin-sdk, which
 * users of the official plugins see. Pauses double from 0.1 s, but are at least `minTimeout`, and 10 s at most.
 */
export async function waitForState(change: StateChange, clock: Clock, signal?: AbortSignal): Promise<void> {
  const deadline = clock.now() + change.timeout * 1000;
  let last = "";
  let notFound = 0;
  let doubled = 0.1;
  await clock.sleep(change.delay * 1000, signal);
  for (;;) {
    signal?.throwIfAborted();
    const state = await change.refresh();
    if (state === change.target) return;
    if (state === undefined) {
      notFound += 1;
      if (notFound > (change.notFoundChecks ?? 20)) throw new Error(`couldn't find resource (${notFound} retries)`);
    } else {
      notFound = 0;
      last = state;
      if (!change.pending.includes(state)) {
        throw new Error(`unexpected state '${state}', wanted target '${change.target}'. last error: %!s(<nil>)`);
      }
    }
    doubled = Math.min(Math.max(doubled * 2, change.minTimeout), LONGEST_GAP);
    const left = deadline - clock.now();
    await clock.sleep(Math.max(Math.min(doubled * 1000, left), 0), signal);
    if (left < doubled * 1000) {
      throw new Error(
        `timeout while waiting for state to become '${change.target}' (last state: '${last}', timeout: ${change.timeout}s)`,
      );
    }
  }
}
