import type { Store } from "./state.ts";

/**
 * Applies the state after every change, one change after the other. A failure is logged, and the next change tries again.
 *
 * @param what  names in the log what is applied
 * @returns applies the current state, and resolves when that is done or logged
 */
export function follow(
  store: Store,
  what: string,
  apply: () => Promise<void>,
  log: (line: string) => void,
): () => Promise<void> {
  let last = Promise.resolve();
  const next = () =>
    (last = last.then(apply).catch((error: unknown) => {
      log(`${what}: ${String(error)}`);
    }));
  store.onChange(() => void next());
  return next;
}
