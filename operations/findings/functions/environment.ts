import { RESOURCES, TYPES } from "../../../contract/names.ts";
import { valueIn } from "../../../contract/scripts.ts";
import type { State } from "../../state.ts";
import { json, sha256 } from "../facts.ts";
import { type Finding, findingsBy, missing } from "../finding.ts";
import type { Inside } from "../inside.ts";

/**
 * Compares the variables that functions read, by name and hash, because values are secrets. Variables that the stack does not
 * declare are ignored: people set them themselves.
 */
export function compareFunctionEnvironment(state: State, inside: Inside): Finding[] {
  const fact = "functions.environment";
  const { error } = findingsBy(fact, "functions");
  const resource = state.find(TYPES.command, RESOURCES.functionEnvironment);
  const given = valueIn((resource?.inputs["stdin"] ?? "") as string, "variables");
  const found = json<Record<string, string>>(inside, fact);
  // A stack of an earlier release does not have this resource or value. A refused key is a separate finding.
  if (given === "" || found === undefined) return [];
  return Object.entries(JSON.parse(given) as Record<string, string>).flatMap(([name, value]) => {
    if (found[name] === sha256(value)) return [];
    const seen =
      found[name] === undefined
        ? missing("is not set, it should be")
        : { expected: "the stack's value", found: "another", message: "has another value than it should" };
    return [error(["functions.environment", name], seen, { up: [RESOURCES.functionEnvironment] })];
  });
}
