export const MINUTE = 60;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** A duration in words, rounded down. In seconds. */
export function span(duration: number): string {
  if (duration < 2 * MINUTE) return `${Math.max(0, Math.floor(duration))} s`;
  if (duration < 2 * HOUR) return `${Math.floor(duration / MINUTE)} min`;
  if (duration < 2 * DAY) return `${Math.floor(duration / HOUR)} h`;
  return `${Math.floor(duration / DAY)} days`;
}
