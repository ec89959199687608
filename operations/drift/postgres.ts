import { json, lines } from "./facts.ts";
import { error, type Finding, refresh, type Repair, RUN_SCRIPTS, should, warning } from "./finding.ts";
import type { Inside } from "./inside.ts";
import { repairText } from "./report.ts";
import type { State } from "../state.ts";
import { RESOURCES, TYPES } from "../../contract/names.ts";
import { deleteSetting } from "./edits.ts";

interface Setting {
  name: string;
  setting: string;
  sourcefile: string | null;
  sourceline: number | null;
  source: string;
  pending_restart: boolean;
  /** The file that has the value which waits. */
  pending_file: string | null;
}

interface HbaRule {
  file_name: string;
  line_number: number;
  line: string;
  error: string | null;
}

interface Role {
  name: string;
  superuser: boolean;
  createdb: boolean;
  createrole: boolean;
  login: boolean;
  replication: boolean;
  bypassrls: boolean;
  scram: boolean;
  /** Whether it has any. */
  password: boolean;
  inherit: boolean;
  /** -1: none. */
  connection_limit: number;
  valid_until: string | null;
  member_of: string[];
}

interface Database {
  name: string;
  owner: string;
  acl: string | null;
  encoding: string;
  collate: string;
  ctype: string;
  /** -1: none. */
  connection_limit: number;
  allow_connections: boolean;
  template: boolean;
}

/** Files that the machine's scripts write; what differs in them the scripts themselves tell. */
const OURS = /\/(postgresql\.conf|conf\.d\/10-convex-droplet\.conf|pg_hba\.conf|pg_hba\.d\/10-convex-droplet\.conf)$/;

/** PostgreSQL as it runs, against what is declared: what it has read, whom it lets in, whom it knows. */
export function comparePostgres(state: State, inside: Inside): Finding[] {
  if (json(inside, "postgres.roles") === undefined) {
    return [error("postgres", "does not answer, so nothing is known of its roles and databases", RUN_SCRIPTS)];
  }
  return [
    ...settings(inside),
    ...rules(inside),
    ...roles(state, inside),
    ...databases(state, inside),
    ...held(inside),
    ...login(inside),
  ];
}

function settings(inside: Inside): Finding[] {
  const findings = (json<Setting[]>(inside, "postgres.settings") ?? []).flatMap((setting) => {
    const path = `postgres.settings.${setting.name}`;
    if (setting.pending_restart) {
      if (setting.pending_file === null || OURS.test(setting.pending_file)) {
        return [warning(path, "waits for a restart of the server, some seconds without the backend", RUN_SCRIPTS)];
      }
      // A restart would bring into force what nobody declared.
      return [
        error(
          path,
          `is to be another one after the next restart, by ${setting.pending_file}, it should not be set there`,
          {
            why: "take it back, and restart nothing before",
            command: setting.pending_file.endsWith("postgresql.auto.conf")
              ? psql(`ALTER SYSTEM RESET ${setting.name}`, "SELECT pg_reload_conf()")
              : `${deleteSetting(setting.name, setting.pending_file)} && ${psql("SELECT pg_reload_conf()")}`,
          },
        ),
      ];
    }
    if (setting.sourcefile === null || OURS.test(setting.sourcefile)) return [];
    const place = `${setting.sourcefile}:${setting.sourceline ?? 0}`;
    const repair = setting.sourcefile.endsWith("postgresql.auto.conf")
      ? {
          why: "take it back",
          command: psql(`ALTER SYSTEM RESET ${setting.name}`, "SELECT pg_reload_conf()"),
        }
      : {
          why: "remove the line, then run the scripts again",
          command: deleteSetting(setting.name, setting.sourcefile),
        };
    const declared = inside.differences.find((difference) => difference.path === path)?.expected;
    return [
      declared === undefined
        ? warning(path, `is ${setting.setting} by ${place}, it should not be set there`, repair)
        : error(path, `${should(setting.setting, declared)}: it is set by ${place}`, repair),
    ];
  });
  for (const line of lines(inside, "postgres.role_settings")) {
    findings.push(
      warning("postgres.role_settings", `unexpected setting "${line}"`, {
        why: "take it back with ALTER ROLE … RESET or ALTER DATABASE … RESET",
      }),
    );
  }
  const [loaded = "0", written = "0"] = (inside.facts.get("postgres.loaded")?.text ?? "").trim().split(/\s+/);
  if (Number(written) > Number(loaded)) {
    findings.push(
      warning("postgres.loaded", "the configuration's files were changed after the server read them", RUN_SCRIPTS),
    );
  }
  return findings;
}

/** As the server has parsed them, which is what counts. */
function rules(inside: Inside): Finding[] {
  return (json<HbaRule[]>(inside, "postgres.hba") ?? []).flatMap((rule) => {
    const path = "postgres.pg_hba";
    if (rule.error !== null)
      return [error(path, `line ${rule.line_number} is refused by the server: ${rule.error}`, RUN_SCRIPTS)];
    if (OURS.test(rule.file_name)) return [];
    const text = rule.line.trim().replaceAll(/\s+/g, " ");
    return [
      error(path, `unexpected line ${rule.line_number} "${text}" in ${rule.file_name}`, {
        why: "if nobody needs it, remove the file, then run the scripts again; a neighbour's may be passed over with --ignore",
        command: `rm ${rule.file_name}`,
      }),
    ];
  });
}

function roles(state: State, inside: Inside): Finding[] {
  const found = json<Role[]>(inside, "postgres.roles") ?? [];
  const administrators = [
    "postgres",
    ...state.all("pulumi:providers:postgresql").map(({ inputs }) => String(inputs["username"])),
  ];
  const declared = state.all(TYPES.role).map(({ name, inputs }) => ({ logical: name, name: String(inputs["name"]) }));
  const findings: Finding[] = [];
  for (const name of administrators) {
    const role = found.find((candidate) => candidate.name === name);
    if (role === undefined) findings.push(error(`postgres.roles.${name}`, "is not there, it should be", RUN_SCRIPTS));
    else {
      if (!role.superuser) findings.push(error(`postgres.roles.${name}.superuser`, should(false, true), RUN_SCRIPTS));
      findings.push(...limits(role));
    }
  }
  for (const { name, logical } of declared) {
    const path = `postgres.roles.${name}`;
    const role = found.find((candidate) => candidate.name === name);
    if (role === undefined) {
      findings.push(error(path, "is not there, it should be", refresh(logical)));
      continue;
    }
    for (const attribute of ["superuser", "createdb", "createrole", "replication", "bypassrls"] as const) {
      if (role[attribute]) findings.push(error(`${path}.${attribute}`, should(true, false), refresh(logical)));
    }
    findings.push(...limits(role));
    if (!role.login) findings.push(error(`${path}.login`, should(false, true), refresh(logical)));
    if (!role.scram)
      findings.push(error(`${path}.password`, should("not kept as scram-sha-256", "scram-sha-256"), PASSWORD));
    for (const group of role.member_of) {
      findings.push(
        error(`${path}.member_of`, `is a member of ${group}, it should be of no role`, {
          why: "take it back",
          command: psql(`REVOKE "${group}" FROM "${name}"`),
        }),
      );
    }
  }
  const known = [...administrators, ...declared.map(({ name }) => name)];
  for (const { name, superuser } of found.filter((role) => !known.includes(role.name))) {
    const find = superuser ? error : warning;
    findings.push(
      find(`postgres.roles.${name}`, `is ${superuser ? "a superuser" : "a role"} that this stack does not declare`, {
        why: "remove it if nobody needs it, or ignore it with --ignore",
        command: psql(`DROP ROLE "${name}"`),
      }),
    );
  }
  return findings;
}

/** What holds a role of the stack's back, or will. */
function limits({ name, connection_limit, valid_until, inherit, password }: Role): Finding[] {
  const path = `postgres.roles.${name}`;
  const alter = (option: string): Repair => ({ why: "take it back", command: psql(`ALTER ROLE "${name}" ${option}`) });
  const isForever = valid_until === null || valid_until === "infinity";
  return [
    ...(connection_limit === -1
      ? []
      : [error(`${path}.connection_limit`, should(connection_limit, -1), alter("CONNECTION LIMIT -1"))]),
    ...(isForever
      ? []
      : [error(`${path}.valid_until`, should(valid_until, "infinity"), alter("VALID UNTIL $$infinity$$"))]),
    ...(inherit ? [] : [error(`${path}.inherit`, should(false, true), alter("INHERIT"))]),
    // It comes in by its name on the droplet alone.
    ...(name === "postgres" && password
      ? [error(`${path}.password`, "has a password, it should have none", alter("PASSWORD NULL"))]
      : []),
  ];
}

/** A slot or a transaction that nobody ends keeps the log on the volume, until that is full. */
function held(inside: Inside): Finding[] {
  return lines(inside, "postgres.held").map((line) => {
    const [what = "", measure = "", statement = ""] = line.split("\t");
    const database = what.startsWith("replication") || what.startsWith("tablespace") ? undefined : measure;
    const kept = what.startsWith("replication")
      ? `, it keeps ${measure === "" ? "nothing yet" : measure} of the log on the volume`
      : "";
    return error("postgres.held", `unexpected ${what}${kept}, nothing declares it`, {
      why: "remove it if nobody needs it, or ignore it with --ignore",
      command: psqlIn(database, statement.replaceAll("'", "$$$$")),
    });
  });
}

/** The rights to a database go with it. */
const EMPTY_DATABASE = { up: [RESOURCES.privacy], refresh: [RESOURCES.database] };

const TEMPLATES = ["postgres", "template0", "template1"];

function databases(state: State, inside: Inside): Finding[] {
  const found = json<Database[]>(inside, "postgres.databases") ?? [];
  const declared = state.all(TYPES.database).map(({ inputs }) => inputs);
  const findings: Finding[] = [];
  for (const inputs of declared) {
    const name = String(inputs["name"]);
    const path = `postgres.databases.${name}`;
    const database = found.find((candidate) => candidate.name === name);
    if (database === undefined) {
      findings.push(
        error(path, "is not there, it should be: its data is gone", {
          why: `no up brings data back: restore its backup; an empty database is made by ${repairText(state.stack, EMPTY_DATABASE)}`,
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
      if (is !== expected)
        findings.push(error(`${path}.${property}`, should(is, expected), refresh(RESOURCES.database)));
    }
    const free = [
      ["connection_limit", database.connection_limit, -1, `CONNECTION LIMIT -1`],
      ["allow_connections", database.allow_connections, true, "ALLOW_CONNECTIONS true"],
      ["template", database.template, false, "IS_TEMPLATE false"],
    ] as const;
    for (const [property, is, expected, option] of free) {
      if (is === expected) continue;
      const repair = { why: "take it back", command: psql(`ALTER DATABASE "${name}" ${option}`) };
      findings.push(error(`${path}.${property}`, should(is, expected), repair));
    }
    for (const entry of strangers(database.acl, database.owner)) {
      findings.push(error(`${path}.grants`, `${entry} may use it, only its owner should`, { up: [RESOURCES.privacy] }));
    }
  }
  for (const { name } of found) {
    if (TEMPLATES.includes(name) || declared.some((inputs) => inputs["name"] === name)) continue;
    findings.push(
      warning(`postgres.databases.${name}`, "is not one of this stack's, it should not be here", {
        why: "it may hold a neighbour's data: look before you drop it, or ignore it with --ignore",
      }),
    );
  }
  for (const line of lines(inside, "postgres.grants")) {
    findings.push(
      warning("postgres.grants", `unexpected in the backend's database: ${line}`, {
        why: "take it back with REVOKE or ALTER … OWNER TO",
      }),
    );
  }
  return findings;
}

/** Who is named in an access list beside the owner: `=Tc/postgres` is everybody. With no list everybody may connect. */
function strangers(acl: string | null, owner: string): string[] {
  if (acl === null) return ["everybody"];
  return acl
    .replace(/^\{|\}$/g, "")
    .split(",")
    .map((entry) => entry.replaceAll('"', "").split("=")[0] ?? "")
    .filter((name) => name !== owner)
    .map((name) => (name === "" ? "everybody" : name));
}

const PASSWORD: Repair = { up: [RESOURCES.password] };

/** The server itself answers, if only to refuse. */
const DROPPED: Repair = { why: "packets are dropped on the way: fix rules, routes and forwarding first" };

/** As the backend logs in: by password, at the address where the containers find the server. */
function login(inside: Inside): Finding[] {
  const fact = inside.facts.get("postgres.login");
  if (fact === undefined || fact.exitCode === 0) return [];
  const reason = fact.text.trim().split("\n").at(-1) ?? "";
  const repair = reason.includes("password") ? PASSWORD : /timeout/.test(reason) ? DROPPED : RUN_SCRIPTS;
  return [error("postgres.login", `the backend's role cannot log in as the backend does: ${reason}`, repair)];
}

function psql(...statements: string[]): string {
  return psqlIn(undefined, ...statements);
}

function psqlIn(database: string | undefined, ...statements: string[]): string {
  const where = database === undefined ? "" : ` -d ${database}`;
  return `cd / && runuser -u postgres -- psql${where} ${statements.map((statement) => `-c '${statement}'`).join(" ")}`;
}
