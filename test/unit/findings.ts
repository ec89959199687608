import type { Finding } from "../../operations/findings/finding.ts";
import type { Difference, Fact, Inside } from "../../operations/findings/inside.ts";
import { type Resource, State } from "../../operations/state.ts";

/** The state of stack `dev` with these resources. */
export function stateOf(...resources: (Pick<Resource, "type" | "name"> & Partial<Resource>)[]): State {
  return new State(
    "dev",
    resources.map((resource) => ({ id: "1", inputs: {}, outputs: {}, ...resource })),
  );
}

/** An inspection with these facts, by name: text, an object for JSON, or a fact that `failed`. */
export function insideOf(facts: Record<string, string | object>, ...differences: Partial<Difference>[]): Inside {
  const whole = { script: "host.sh", area: "host", subject: "", property: "", expected: "", found: "" } as const;
  return {
    differences: differences.map((difference) => ({ ...whole, ...difference })),
    facts: new Map(Object.entries(facts).map(([name, given]) => [name, factOf(given)])),
  };
}

function factOf(given: string | object): Fact {
  if (typeof given === "string") return { exitCode: 0, text: given };
  return "exitCode" in given ? (given as Fact) : { exitCode: 0, text: JSON.stringify(given) };
}

/** A fact whose command failed. */
export function failed(text = ""): Fact {
  return { exitCode: 1, text };
}

/** What `told` shows of a finding. */
export type Told = [claim: string, repair: string];

/** What a person sees of findings: severity, area, source, path and message; and the command, the advice or the `up`. */
export function told(findings: Finding[]): Told[] {
  return findings.map(({ severity, area, source, path, message, repair }) => [
    `${severity} ${area} ${source} ${path}: ${message}`,
    "up" in repair
      ? `replace ${repair.up.join(" ")}; refresh ${(repair.refresh ?? []).join(" ")}`
      : (repair.command ?? repair.why),
  ]);
}
