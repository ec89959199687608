/** Nanoseconds in each unit of a Go duration, longest first. */
const UNITS = { h: 3_600_000_000_000, m: 60_000_000_000, s: 1_000_000_000, ms: 1_000_000, us: 1000, µs: 1000, ns: 1 };

/** Nanoseconds of a Go duration such as `1m30s` or `500ms`; undefined if it is not one. */
export function parseDuration(text: string): number | undefined {
  if (text === "0") return 0;
  if (!/^(\d+(\.\d+)?(h|ms|m|s|us|µs|ns))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)/g)) {
    total += Number(amount) * UNITS[unit as keyof typeof UNITS];
  }
  return Math.round(total);
}

/** A duration in Go's form: `1m0s`, `1h0m0s`, `30s`, `1.5s`, `500ms`, `0s`. */
export function formatDuration(nanoseconds: number): string {
  if (nanoseconds === 0) return "0s";
  for (const unit of ["ns", "µs", "ms"] as const) {
    const next = unit === "ns" ? UNITS.us : unit === "µs" ? UNITS.ms : UNITS.s;
    if (nanoseconds < next) return `${nanoseconds / UNITS[unit]}${unit}`;
  }
  const hours = Math.floor(nanoseconds / UNITS.h);
  const minutes = Math.floor((nanoseconds % UNITS.h) / UNITS.m);
  const seconds = (nanoseconds % UNITS.m) / UNITS.s;
  const parts = hours > 0 ? [`${hours}h`, `${minutes}m`] : minutes > 0 ? [`${minutes}m`] : [];
  return [...parts, `${seconds}s`].join("");
}
