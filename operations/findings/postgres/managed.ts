import { RESOURCES } from "../../../contract/names.ts";
import type { Finding } from "../finding.ts";
import type { Repair } from "../repair.ts";
import { onManaged } from "./psql.ts";

/** A finding of a stack with a managed database, whose repair must not be that of the droplet's own server. */
export function withManaged(finding: Finding): Finding {
  return { ...finding, repair: managed(finding.repair) };
}

function managed(repair: Repair): Repair {
  if ("up" in repair) {
    const own = repair.up.includes(RESOURCES.server);
    const up = repair.up.map((name) => (name === RESOURCES.server ? RESOURCES.databaseClient : name));
    return own ? { ...repair, up } : repair;
  }
  return repair.command === undefined ? repair : { ...repair, command: onManaged(repair.command) };
}
