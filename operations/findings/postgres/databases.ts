import { RESOURCES, TYPES } from "../../../contract/names.ts";
import type { State } from "../../state.ts";
import { json, lines } from "../facts.ts";
import { type Finding, findingsBy, missing, undeclared } from "../finding.ts";
import type { Inside } from "../inside.ts";
import { refresh, repairText, type Up } from "../repair.ts";
import { npmCommand } from "../../typed.ts";
import { identifier, psql } from "./psql.ts";

interface Database {
  name: string;
  owner: string;
  acl: string | null;
  encoding: string;
  collate: string;
  ctype: string;
  /** -1: no limit. */
  connection_limit: number;
  allow_connections: boolean;
  template: boolean;
}

/** The resource that grants the rights on a database, by logical names. */
function privacyOf(database: string): string {
  return database === RESOURCES.database ? RESOURCES.privacy : `${database}-privacy`;
}

/** Creates an empty database. Also grants its rights again, because they are lost with it, and its owner may be gone, too. */
function emptyDatabase(database: string): Up {
  const isOwn = database === RESOURCES.database;
  return {
    up: [privacyOf(database)],
    refresh: [...(isOwn ? [] : [`${database.replace(/-shadow$/, "")}-role`]), database],
  };
}

const TEMPLATES = ["postgres", "template0", "template1"];

/** Checks that the stack's databases exist, that only their owner may use them, and that there are no others. */
export function compareDatabases(state: State, inside: Inside): Finding[] {
  const { error, warning, notice } = findingsBy("postgres.databases", "postgres");
  const found = json<Database[]>(inside, "postgres.databases") ?? [];
  const resources = state.all(TYPES.database);
  const declared = resources.map(({ inputs }) => inputs);
  const findings: Finding[] = [];
  for (const { name: logical, inputs } of resources) {
    const name = String(inputs["name"]);
    const path = `postgres.databases.${name}`;
    const database = found.find((candidate) => candidate.name === name);
    if (database === undefined && isShadow(logical)) {
      findings.push(error(path, missing(), emptyDatabase(logical)));
      continue;
    }
    if (database === undefined) {
      findings.push(
        error(path, missing("is not there, it should be: its data is lost"), {
          why: `an up cannot restore the data: restore its backup. To create an empty database: ${repairText(state.stack, emptyDatabase(logical))}`,
        }),
      );
      continue;
    }
    const properties = [
      ["owner", database.owner, inputs["owner"]],
      ["encoding", database.encoding, inputs["encoding"]],
      ["collate", database.collate, inputs["lcCollate"]],
      ["ctype", database.ctype, inputs["lcCtype"]],
    ] as const;
    for (const [property, is, expected] of properties) {
      if (is !== expected) findings.push(error([path, property], { expected, found: is }, refresh(logical)));
    }
    const free = [
      ["connection_limit", database.connection_limit, -1, `CONNECTION LIMIT -1`],
      ["allow_connections", database.allow_connections, true, "ALLOW_CONNECTIONS true"],
      ["template", database.template, false, "IS_TEMPLATE false"],
    ] as const;
    for (const [property, is, expected, option] of free) {
      if (is === expected) continue;
      const repair = { why: "undo it", command: psql(`ALTER DATABASE ${identifier(name)} ${option}`) };
      findings.push(error([path, property], { expected, found: is }, repair));
    }
    for (const entry of strangers(database.acl, database.owner)) {
      findings.push(
        error([path, "grants"], undeclared(`${entry} may use it, only its owner should`, entry), {
          up: [privacyOf(logical)],
        }),
      );
    }
  }
  for (const { name } of found) {
    if (TEMPLATES.includes(name) || declared.some((inputs) => inputs["name"] === name)) continue;
    if (declared.some((inputs) => isKept(name, String(inputs["name"])))) {
      findings.push(
        notice(`postgres.databases.${name}`, undeclared("was replaced by a reset, a copy or a move-in"), {
          why: `remove it, and the files that were replaced with it: ${npmCommand(state.stack, "move-in", "--forget")}`,
        }),
      );
      continue;
    }
    findings.push(
      warning(`postgres.databases.${name}`, undeclared("is not one of this stack's, it should not be here"), {
        why: "it may contain another project's data: check it before you drop it, or ignore it with driftIgnore",
      }),
    );
  }
  for (const line of lines(inside, "postgres.grants")) {
    findings.push(
      findingsBy("postgres.grants", "postgres").warning(
        "postgres.grants",
        undeclared(`unexpected in the backend's database: ${line}`, line),
        {
          why: "undo it with REVOKE or ALTER … OWNER TO",
        },
      ),
    );
  }
  return findings;
}

/** Whether the database is one that migration tools use, and empty themselves. */
function isShadow(logical: string): boolean {
  return logical !== RESOURCES.database && logical.endsWith("-shadow");
}

/** Whether machine/move-in/move-in.sh has given a database this name, to keep it. */
function isKept(name: string, database: string): boolean {
  const [, start, stamp] = /^(.*)_before_(\d{8}T\d{6}Z)$/.exec(name) ?? [];
  return stamp !== undefined && start === database.slice(0, 38);
}

/** The roles in an access list, except the owner. `=Tc/postgres` means everybody. Without a list, everybody may connect. */
function strangers(acl: string | null, owner: string): string[] {
  if (acl === null) return ["everybody"];
  return acl
    .replace(/^\{|\}$/g, "")
    .split(",")
    .map((entry) => entry.replaceAll('"', "").split("=")[0] ?? "")
    .filter((name) => name !== owner)
    .map((name) => (name === "" ? "everybody" : name));
}
