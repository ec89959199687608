import { RESOURCES } from "../../../contract/names.ts";
import type { State } from "../../state.ts";
import { declaredBackend } from "../expected.ts";
import { json, lines, sha256 } from "../facts.ts";
import { type Finding, findingsBy, missing } from "../finding.ts";
import type { Fact, Inside } from "../inside.ts";
import { newContainer } from "../repair.ts";
import { OFF_VOLUME } from "../scripts.ts";
import { shell } from "../shell.ts";

const NEW_BACKEND = newContainer(RESOURCES.backend);

const by = (fact: string) => findingsBy(fact, "convex");

/** Checks the answers of the backend and the dashboard (name, keys, URLs), and the backend's files on the volume. */
export function compareConvex(state: State, inside: Inside): Finding[] {
  const declared = declaredBackend(state)?.variables;
  if (declared === undefined) return [];
  const answering = answers(inside.facts.get("backend.version"))
    ? [...name(declared, inside), ...ports(inside), ...keys(inside), ...origins(declared, inside)]
    : [by("backend.version").error("backend", SILENT, NEW_BACKEND)];
  return [...answering, ...buckets(inside), ...files(declared.get("INSTANCE_SECRET") ?? "", inside)];
}

const SILENT = missing("does not answer on its port, it should");

function answers(fact: Fact | undefined): boolean {
  return fact?.exitCode === 0;
}

function name(declared: Map<string, string>, { facts }: Inside): Finding[] {
  const fact = "backend.instance_name";
  const [found, expected] = [facts.get(fact)?.text.trim() ?? "", declared.get("INSTANCE_NAME")];
  return found === expected ? [] : [by(fact).error(["backend", "instance_name"], { expected, found }, NEW_BACKEND)];
}

function ports({ facts }: Inside): Finding[] {
  const others = [
    ["backend.site", ["backend", "site"], NEW_BACKEND],
    ["backend.dashboard", "dashboard", newContainer(RESOURCES.dashboard)],
  ] as const;
  return others.flatMap(([fact, where, repair]) =>
    answers(facts.get(fact)) ? [] : [by(fact).error(where, SILENT, repair)],
  );
}

/** Checks that the backend accepts both keys, and that only the admin key may change anything. */
function keys({ facts }: Inside): Finding[] {
  return ["admin_key", "read_only_key"].flatMap((key) => {
    const fact = `backend.${key}`;
    const { error } = by(fact);
    const where = ["backend", key] as const;
    // There is no read-only key if the backend's own tool had to make the admin key.
    if (key === "read_only_key" && !facts.has(fact)) return [];
    const [code = "", answer = ""] = facts.get(fact)?.text.split("\n") ?? [];
    if (code !== "200") {
      const found = code === "" ? "nothing" : code;
      const message = `is answered with ${found}, it should be accepted: the backend runs with another secret or name`;
      return [error(where, { expected: "200", found, message }, NEW_BACKEND)];
    }
    const [isReadOnly, expected] = [/"isReadOnly":\s*true/.test(answer), key === "read_only_key"];
    if (isReadOnly === expected) return [];
    const [may, mayNot] = ["may change things", "may only read"];
    const found = isReadOnly ? mayNot : may;
    return [
      error(where, { expected: expected ? mayNot : may, found, message: `${found}, it should not` }, NEW_BACKEND),
    ];
  });
}

function origins(declared: Map<string, string>, inside: Inside): Finding[] {
  const fact = "backend.canonical_urls";
  const urls = json<{ convexCloudUrl?: string; convexSiteUrl?: string }>(inside, fact);
  if (urls === undefined) return [];
  const pairs = [
    ["cloud_origin", urls.convexCloudUrl, declared.get("CONVEX_CLOUD_ORIGIN")],
    ["site_origin", urls.convexSiteUrl, declared.get("CONVEX_SITE_ORIGIN")],
  ] as const;
  return pairs
    .filter(([, found, expected]) => found !== expected)
    .map(([property, found, expected]) =>
      by(fact).error(
        ["backend", property],
        { expected, found },
        {
          why: "somebody has overridden it in the dashboard's settings or by the API, undo that there",
        },
      ),
    );
}

/** The backend asks its buckets only for the next file, and only its log shows that they do not answer. */
function buckets(inside: Inside): Finding[] {
  const fact = "backend.buckets";
  return lines(inside, fact).flatMap((line) => {
    const [bucket = "", code = "", status = "", ...reason] = line.split(" ");
    if (code === "0" && status === "200") return [];
    const found = code === "0" ? status : `nothing (${reason.join(" ")})`;
    const message = `answers ${found} to the backend, it should list its objects: no file in it can be read`;
    return [
      by(fact).error(
        ["backend", `buckets[${bucket}]`],
        { expected: "200", found, message },
        {
          up: [RESOURCES.buckets],
        },
      ),
    ];
  });
}

/** If the data is elsewhere, or belongs to another instance, comparing its secret makes no sense. */
function files(secret: string, inside: Inside): Finding[] {
  if (inside.differences.some(({ subject }) => subject.startsWith(OFF_VOLUME))) return [];
  const fact = "backend.files";
  const lost = lines(inside, fact);
  if (lost.length === 0) return secretFile(secret, inside.facts.get("backend.instance_secret"));
  return lost.map((mark) =>
    by(fact).error(
      ["backend", "files"],
      missing("are not the files that this instance was accepted with, they should be"),
      {
        why: "restore data/storage on the volume from a backup; to continue without the stored files, and without functions until you deploy them again",
        command: shell`rm ${mark}`,
      },
    ),
  );
}

/** The backend writes its secret to the volume at each start. If it differs from the state's, the stack's keys do not work. */
function secretFile(secret: string, fact: Fact | undefined): Finding[] {
  const expected = sha256(secret);
  // A command that failed prints no hash.
  const found = fact?.exitCode === 0 ? (fact.text.trim().split(/\s+/)[0] ?? "") : "";
  if (found === expected) return [];
  const seen =
    found === ""
      ? missing("is not on the volume, it should be")
      : { expected: "the stack's", found: "another", message: "on the volume is not the stack's, it should be" };
  return [by("backend.instance_secret").error(["backend", "instance_secret"], seen, NEW_BACKEND)];
}
