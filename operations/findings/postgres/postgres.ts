import type { State } from "../../state.ts";
import { json } from "../facts.ts";
import { type Finding, findingsBy, missing } from "../finding.ts";
import type { Inside } from "../inside.ts";
import { RUN_POSTGRES } from "../repair.ts";
import { compareCertificate } from "./certificate.ts";
import { compareDatabases } from "./databases.ts";
import { compareRoles } from "./roles.ts";
import { compareServer } from "./server.ts";

/** Compares the running PostgreSQL with what is declared. */
export function comparePostgres(state: State, inside: Inside): Finding[] {
  if (json(inside, "postgres.roles") === undefined) {
    // The script of a managed database also knows why.
    if (inside.differences.some(({ script, property }) => script === "managed.sh" && property === "connection"))
      return [];
    const { error } = findingsBy("postgres", "postgres");
    const seen = missing("does not answer, so its roles and databases could not be checked");
    return [error("postgres", seen, RUN_POSTGRES)];
  }
  return [
    ...compareCertificate(state),
    ...compareServer(inside),
    ...compareRoles(state, inside),
    ...compareDatabases(state, inside),
  ];
}
