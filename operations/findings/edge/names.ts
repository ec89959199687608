import { TYPES } from "../../../contract/names.ts";
import type { Resource, State } from "../../state.ts";
import { declaredEdge } from "../expected.ts";
import { lines } from "../facts.ts";
import { type Finding, findingsBy, type Seen } from "../finding.ts";
import type { Inside } from "../inside.ts";
import { refresh, type Repair } from "../repair.ts";

/** The fact with the addresses of each name. */
export const EDGE_NAMES = "edge.names";

const { error, notice } = findingsBy(EDGE_NAMES, "edge");

/** Compares the addresses that the names lead to, as the domain's own name servers answer, with the stack's. */
export function compareEdgeNames(state: State, inside: Inside): Finding[] {
  const address = declaredEdge(state)?.address;
  if (address === undefined) return [];
  return lines(inside, EDGE_NAMES).flatMap((line) => {
    const [host = "", ...found] = line.trim().split(/\s+/);
    const where = `edge.names[${host}]`;
    if (found[0] === "unanswered") {
      const why = "check the domain's name servers at its registrar, and whether they answer";
      const message = "could not be looked up: no name server of its domain answers the droplet";
      return [notice(where, { expected: address, message }, { why, command: `dig +trace ${host}` })];
    }
    if (found.length === 1 && found[0] === address) return [];
    const record = recordOf(state, host);
    return [error(where, seen(found, address, record), repairOf(host, found, address, record))];
  });
}

function seen(found: string[], address: string, record: Resource | undefined): Seen {
  const message =
    found.length === 0
      ? `has no record, it should lead to ${address}`
      : `leads to ${found.join(" and ")}, it should lead to ${address}`;
  const isOnly = record === undefined || found.includes(address);
  const tail =
    "; if its record in the account is as declared, the domain's registrar names other servers than DigitalOcean's";
  return {
    expected: address,
    found: found.length === 0 ? "no record" : found.join(" "),
    message: `${message}${isOnly ? "" : tail}`,
  };
}

function repairOf(host: string, found: string[], address: string, record: Resource | undefined): Repair {
  if (record === undefined) {
    return {
      why: `set the record A ${host} ${address} at the domain's DNS provider, and no other address for this name`,
    };
  }
  if (found.includes(address)) {
    const domain = String(record.inputs["domain"]);
    return { why: `delete the name's other records, which doctl compute domain records list ${domain} shows` };
  }
  return refresh(record.name);
}

/** The name's record, if the stack makes it. */
function recordOf(state: State, host: string): Resource | undefined {
  return state
    .all(TYPES.record)
    .find(({ inputs: { domain, name } }) => host === (name === "@" ? domain : `${String(name)}.${String(domain)}`));
}
