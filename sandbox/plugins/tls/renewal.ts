import type { Change } from "../framework/definition.ts";
import type { PropertyBag } from "../framework/values.ts";

/** In milliseconds. */
export const HOUR = 3_600_000;

interface RenewalState {
  validityEndTime?: string | undefined;
  earlyRenewalHours?: number | undefined;
}

/** Replaces a certificate that has reached its renewal window, and corrects `readyForRenewal` if it has not. */
export function diffRenewal(changes: Change[], olds: PropertyBag, news: PropertyBag): Change[] {
  const replaces = isReady(olds["validityEndTime"], news["earlyRenewalHours"]);
  if (!replaces && olds["readyForRenewal"] !== true) return changes;
  return [...changes, { path: "readyForRenewal", kind: "update", replaces }];
}

/** A refresh shows that the renewal window is reached; the rest only the state knows. */
export function readRenewal(_context: unknown, { state }: { state: RenewalState }) {
  return Promise.resolve(isReady(state.validityEndTime, state.earlyRenewalHours) ? { readyForRenewal: true } : {});
}

/** The update of `earlyRenewalHours`; a certificate that is ready now is replaced instead. */
export function updateRenewal() {
  return Promise.resolve({ readyForRenewal: false });
}

function isReady(end: unknown, earlyHours: unknown): boolean {
  if (typeof end !== "string" || typeof earlyHours !== "number") return false;
  return new Date(end).getTime() - earlyHours * HOUR <= Date.now();
}
