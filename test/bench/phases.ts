/** The phases of an engine's run. */
export const PHASES = [
  "API and its fixed waits",
  "boot and SSH connections",
  "packages",
  "machine set-up",
  "containers",
  "engine and Node",
] as const;

export type Phase = (typeof PHASES)[number];

/** An event of the engine, with its time in milliseconds since the start of the run. */
export interface TimedEvent {
  at: number;
  event: EngineEvent;
}

/** The parts of an event that are used here; `pulumi --json` prints one event on each line. */
export interface EngineEvent {
  resourcePreEvent?: { metadata: { urn: string; op: string } };
  resOutputsEvent?: { metadata: { urn: string } };
  resOpFailedEvent?: { metadata: { urn: string } };
  diagnosticEvent?: { urn?: string; message: string; severity: string };
}

interface Interval {
  phase: Phase;
  from: number;
  to: number;
}

/**
 * Divides the seconds of a run among its phases. If several overlap, each gets an equal share, so that their sum is the whole
 * run. Time without a resource operation is the engine's and the program's.
 */
export function divide(events: TimedEvent[], milliseconds: number): Record<Phase, number> {
  const intervals = operations(events);
  const moments = [...new Set([0, milliseconds, ...intervals.flatMap(({ from, to }) => [from, to])])].sort(
    (left, right) => left - right,
  );
  const seconds = Object.fromEntries(PHASES.map((phase) => [phase, 0])) as Record<Phase, number>;
  moments.slice(1).forEach((to, index) => {
    const from = moments[index] ?? 0;
    const going = new Set(
      intervals.filter((one) => one.from <= from && one.to >= to && one.from < one.to).map(({ phase }) => phase),
    );
    const phases: Phase[] = going.size === 0 ? ["engine and Node"] : [...going];
    for (const phase of phases) seconds[phase] += (to - from) / 1000 / phases.length;
  });
  return seconds;
}

/** The times of each resource's operation; a script's messages divide a command's time further. */
function operations(events: TimedEvent[]): Interval[] {
  const begun = new Map<string, { phase: Phase; from: number }>();
  const intervals: Interval[] = [];
  const turn = (urn: string, at: number, phase?: Phase) => {
    const current = begun.get(urn);
    if (current !== undefined) intervals.push({ ...current, to: at });
    if (phase === undefined) begun.delete(urn);
    else begun.set(urn, { phase, from: at });
  };
  for (const { at, event } of events) {
    const started = event.resourcePreEvent?.metadata;
    const ended = (event.resOutputsEvent ?? event.resOpFailedEvent)?.metadata;
    const said = event.diagnosticEvent;
    if (started !== undefined && started.op !== "same") {
      const phase = phaseOf(started.urn);
      if (phase !== undefined) turn(started.urn, at, phase);
    } else if (ended !== undefined) {
      turn(ended.urn, at);
    } else if (said?.urn !== undefined && said.severity !== "debug" && begun.has(said.urn)) {
      turn(said.urn, at, phaseAfter(said.urn, said.message));
    }
  }
  return intervals;
}

/** Undefined for resources that take almost no time: components, keys, passwords. */
function phaseOf(urn: string): Phase | undefined {
  const type = urn.split("::")[2]?.split("$").at(-1) ?? "";
  if (type.startsWith("digitalocean:")) return "API and its fixed waits";
  if (type.startsWith("docker:")) return "containers";
  if (type.startsWith("postgresql:")) return "machine set-up";
  // Until its script's first message, a command only connects.
  return type.startsWith("command:") ? "boot and SSH connections" : undefined;
}

/** After a message of a script of `machine/`: the script runs, and reports the start and the end of installing packages. */
function phaseAfter(urn: string, message: string): Phase {
  if (/install(?:ing|s) /.test(message)) return "packages";
  return urn.endsWith("::convex-acceptance") ? "containers" : "machine set-up";
}
