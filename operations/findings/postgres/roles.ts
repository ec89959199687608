import { RESOURCES, TYPES } from "../../../contract/names.ts";
import type { State } from "../../state.ts";
import { isManaged } from "../expected.ts";
import { json } from "../facts.ts";
import { type Finding, findingsBy, missing, undeclared } from "../finding.ts";
import type { Inside } from "../inside.ts";
import { refresh, type Repair, RUN_POSTGRES } from "../repair.ts";
import { identifier, psql } from "./psql.ts";

interface Role {
  name: string;
  superuser: boolean;
  createdb: boolean;
  createrole: boolean;
  login: boolean;
  replication: boolean;
  bypassrls: boolean;
  scram: boolean;
  /** Whether it has a password. */
  password: boolean;
  inherit: boolean;
  /** -1: no limit. */
  connection_limit: number;
  valid_until: string | null;
  member_of: string[];
}

const BY_ROLES = findingsBy("postgres.roles", "postgres");

/** Checks that the stack's roles exist without limits, that there are no others, and that the backend's role can log in. */
export function compareRoles(state: State, inside: Inside): Finding[] {
  return [...roles(state, inside), ...login(inside)];
}

function roles(state: State, inside: Inside): Finding[] {
  const { error, warning } = BY_ROLES;
  const found = json<Role[]>(inside, "postgres.roles") ?? [];
  // Those of a managed database are DigitalOcean's own.
  const administrators = isManaged(state)
    ? []
    : ["postgres", ...state.all("pulumi:providers:postgresql").map(({ inputs }) => String(inputs["username"]))];
  const declared = state.all(TYPES.role).map(({ name, inputs }) => ({
    logical: name,
    name: String(inputs["name"]),
    replication: inputs["replication"] === true,
    connections: Number(inputs["connectionLimit"] ?? -1),
  }));
  const findings: Finding[] = [];
  for (const name of administrators) {
    const role = found.find((candidate) => candidate.name === name);
    if (role === undefined) findings.push(error(`postgres.roles.${name}`, missing(), RUN_POSTGRES));
    else {
      if (!role.superuser)
        findings.push(error([`postgres.roles.${name}`, "superuser"], { expected: true, found: false }, RUN_POSTGRES));
      findings.push(...limits(role));
    }
  }
  for (const { name, logical, replication, connections } of declared) {
    const path = `postgres.roles.${name}`;
    const role = found.find((candidate) => candidate.name === name);
    if (role === undefined) {
      findings.push(error(path, missing(), refresh(logical)));
      continue;
    }
    const attributes = { superuser: false, createdb: false, createrole: false, replication, bypassrls: false } as const;
    for (const [attribute, expected] of Object.entries(attributes)) {
      const is = role[attribute as keyof typeof attributes];
      if (is !== expected) findings.push(error([path, attribute], { expected, found: is }, refresh(logical)));
    }
    findings.push(...limits(role, connections));
    if (!role.login) findings.push(error([path, "login"], { expected: true, found: false }, refresh(logical)));
    if (!role.scram)
      findings.push(
        error([path, "password"], { expected: "scram-sha-256", found: "not kept as scram-sha-256" }, password(logical)),
      );
    for (const group of role.member_of) {
      findings.push(
        error([path, "member_of"], undeclared(`is a member of ${group}, it should be of no role`, group), {
          why: "undo it",
          command: psql(`REVOKE ${identifier(group)} FROM ${identifier(name)}`),
        }),
      );
    }
  }
  const known = [...administrators, ...declared.map(({ name }) => name)];
  for (const { name, superuser } of found.filter((role) => !known.includes(role.name))) {
    const find = superuser ? error : warning;
    findings.push(
      find(
        `postgres.roles.${name}`,
        undeclared(`is ${superuser ? "a superuser" : "a role"} that this stack does not declare`),
        {
          why: "remove it if nobody needs it, or ignore it with driftIgnore",
          command: psql(`DROP ROLE ${identifier(name)}`),
        },
      ),
    );
  }
  return findings;
}

/** Limits of a stack's role that keep it from logging in, now or later. */
function limits({ name, connection_limit, valid_until, inherit, password }: Role, connections = -1): Finding[] {
  const { error } = BY_ROLES;
  const path = `postgres.roles.${name}`;
  const alter = (option: string): Repair => ({
    why: "undo it",
    command: psql(`ALTER ROLE ${identifier(name)} ${option}`),
  });
  const isForever = valid_until === null || valid_until === "infinity";
  return [
    ...(connection_limit === connections
      ? []
      : [
          error(
            [path, "connection_limit"],
            { expected: connections, found: connection_limit },
            alter(`CONNECTION LIMIT ${connections}`),
          ),
        ]),
    ...(isForever
      ? []
      : [
          error([path, "valid_until"], { expected: "infinity", found: valid_until }, alter("VALID UNTIL $$infinity$$")),
        ]),
    ...(inherit ? [] : [error([path, "inherit"], { expected: true, found: false }, alter("INHERIT"))]),
    // On the droplet it logs in by its name, so it needs no password.
    ...(name === "postgres" && password
      ? [error([path, "password"], undeclared("has a password, it should have none"), alter("PASSWORD NULL"))]
      : []),
  ];
}

/** Another password for a role, by its logical name. */
function password(role: string): Repair {
  return { up: [role.replace(/-role$/, "-password")] };
}

/** A timeout: the server would at least refuse. */
const DROPPED: Repair = { why: "packets are dropped on the way: fix rules, routes and forwarding first" };

/** Logs in as the backend does: by password, at the server's address for the containers. */
function login(inside: Inside): Finding[] {
  const { error } = findingsBy("postgres.login", "postgres");
  const fact = inside.facts.get("postgres.login");
  if (fact === undefined || fact.exitCode === 0) return [];
  const reason = fact.text.trim().split("\n").at(-1) ?? "";
  const repair = reason.includes("password")
    ? password(RESOURCES.role)
    : /timeout/.test(reason)
      ? DROPPED
      : RUN_POSTGRES;
  const message = `the backend's role cannot log in as the backend does: ${reason}`;
  return [error(["postgres", "login"], { expected: "logged in", found: reason, message }, repair)];
}
