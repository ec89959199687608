import { valueIn } from "../../contract/scripts.ts";
import { declaredBackend } from "./expected.ts";
import { json, lines, sha256 } from "./facts.ts";
import { error, type Finding, newContainer, should } from "./finding.ts";
import type { Fact, Inside } from "./inside.ts";
import { OFF_VOLUME } from "./repairs.ts";
import type { State } from "../state.ts";
import { RESOURCES, TYPES } from "../../contract/names.ts";

/** The backend as it answers, against what is declared: who it says it is, whom it lets in, where it says it is. */
export function compareConvex(state: State, inside: Inside): Finding[] {
  const declared = declaredBackend(state)?.variables;
  if (declared === undefined) return [];
  const repair = newContainer(RESOURCES.backend);
  const { facts } = inside;
  const version = facts.get("backend.version");
  if (!answered(version)) {
    return [
      error("backend", "does not answer on its port, it should", newContainer(RESOURCES.backend)),
      ...files(declared.get("INSTANCE_SECRET") ?? "", inside),
    ];
  }
  const findings: Finding[] = [];
  const name = facts.get("backend.instance_name")?.text.trim() ?? "";
  if (name !== declared.get("INSTANCE_NAME")) {
    findings.push(error("backend.instance_name", should(name, declared.get("INSTANCE_NAME")), repair));
  }
  if (!answered(facts.get("backend.site")))
    findings.push(error("backend.site", "does not answer on its port, it should", repair));
  if (!answered(facts.get("backend.dashboard"))) {
    findings.push(error("dashboard", "does not answer on its port, it should", newContainer(RESOURCES.dashboard)));
  }
  findings.push(...keys(inside));
  const urls = json<{ convexCloudUrl?: string; convexSiteUrl?: string }>(inside, "backend.canonical_urls");
  if (urls !== undefined) {
    const pairs = [
      ["cloud_origin", urls.convexCloudUrl, declared.get("CONVEX_CLOUD_ORIGIN")],
      ["site_origin", urls.convexSiteUrl, declared.get("CONVEX_SITE_ORIGIN")],
    ] as const;
    for (const [path, found, expected] of pairs) {
      if (found !== expected) {
        findings.push(
          error(`backend.${path}`, should(found, expected), {
            why: "somebody has overridden it in the dashboard's settings or by the API, take it back there",
          }),
        );
      }
    }
  }
  return [...findings, ...functionEnvironment(state, inside), ...files(declared.get("INSTANCE_SECRET") ?? "", inside)];
}

/** All that there are are let in, and only one of them may change anything. */
function keys({ facts }: Inside): Finding[] {
  const repair = newContainer(RESOURCES.backend);
  return ["admin_key", "read_only_key"].flatMap((key) => {
    const path = `backend.${key}`;
    // There is none where the backend's own tool had to make the other.
    if (key === "read_only_key" && !facts.has(path)) return [];
    const [code = "", answer = ""] = facts.get(path)?.text.split("\n") ?? [];
    if (code !== "200") {
      const what = `is answered with ${code || "nothing"}, it should be accepted`;
      return [error(path, `${what}: the backend runs with another secret or name`, repair)];
    }
    const isReadOnly = /"isReadOnly":\s*true/.test(answer);
    if (isReadOnly === (key === "read_only_key")) return [];
    return [error(path, `${isReadOnly ? "may only read" : "may change things"}, it should not`, repair)];
  });
}

/** By name and hash: values are secrets. Variables that the stack does not declare are people's own. */
function functionEnvironment(state: State, inside: Inside): Finding[] {
  const resource = state.find(TYPES.command, RESOURCES.functionEnvironment);
  if (resource === undefined) return [];
  const given = valueIn(String(resource.inputs["stdin"]), "variables");
  // Of a run of before, where the one that was to set them anew did not get that far.
  if (given === "") return [];
  const variables = JSON.parse(given) as Record<string, string>;
  const found = json<Record<string, string>>(inside, "backend.environment");
  // Not told to a key that is refused, which is a finding of its own.
  if (found === undefined) return [];
  return Object.entries(variables).flatMap(([name, value]) => {
    if (found[name] === sha256(value)) return [];
    const what = found[name] === undefined ? "is not set, it should be" : "has another value than it should";
    return [error(`functions.environment.${name}`, what, { up: [resource.name] })];
  });
}

function answered(fact: Fact | undefined): boolean {
  return fact?.exitCode === 0;
}

/** What is on the volume. Where the data is not, or is another instance's, its secret tells nothing more. */
function files(secret: string, { differences, facts }: Inside): Finding[] {
  if (differences.some(({ path }) => path.startsWith(OFF_VOLUME))) return [];
  const lost = lines({ differences, facts }, "backend.files");
  return lost.length > 0
    ? lost.map((mark) =>
        error("backend.files", "are not those that this instance was accepted with, they should be", {
          why: "restore data/storage on the volume from a backup; to go on without what was stored, and without functions until they are deployed again",
          command: `rm ${mark}`,
        }),
      )
    : secretFile(secret, facts.get("backend.instance_secret"));
}

/** The backend writes its secret to the volume at each start; without the state's, keys made elsewhere would die with it. */
function secretFile(secret: string, fact: Fact | undefined): Finding[] {
  const expected = sha256(secret);
  // What a command that failed says is no hash.
  const found = fact?.exitCode === 0 ? (fact.text.trim().split(/\s+/)[0] ?? "") : "";
  if (found === expected) return [];
  const what = found === "" ? "is not on the volume, it should be" : "on the volume is another one than the stack's";
  return [error("backend.instance_secret", what, newContainer(RESOURCES.backend))];
}
