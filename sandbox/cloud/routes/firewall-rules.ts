import { isIP } from "node:net";
import { isDeepStrictEqual } from "node:util";

import { notSimulated, unprocessable } from "../errors.ts";
import { existingTags } from "../lookups.ts";
import type { CloudState, Peers, Rule, RuleSet } from "../records.ts";
import type { Fields } from "./fields.ts";

/** The rules of a request, in the form in which the API shows them. */
export function readRules(state: CloudState, body: Fields): RuleSet {
  return {
    inbound_rules: body
      .objects("inbound_rules")
      .map((rule) => ({ ...readRule(rule), sources: readPeers(state, rule, "sources") })),
    outbound_rules: body
      .objects("outbound_rules")
      .map((rule) => ({ ...readRule(rule), destinations: readPeers(state, rule, "destinations") })),
  };
}

/**
 * `rules` without those in `removed`.
 *
 * @throws ApiError 422 if one of these does not exist
 */
export function withoutRules<T extends Rule>(rules: T[], removed: T[]): T[] {
  if (removed.some((rule) => !rules.some((own) => isDeepStrictEqual(own, rule)))) {
    throw unprocessable("The firewall has no such rule.");
  }
  return rules.filter((own) => !removed.some((rule) => isDeepStrictEqual(own, rule)));
}

function readRule(rule: Fields): Rule {
  const protocol = rule.text("protocol");
  if (protocol !== "tcp" && protocol !== "udp" && protocol !== "icmp") {
    throw unprocessable(`protocol: is ${protocol}, must be tcp, udp or icmp.`);
  }
  if ((rule.optionalText("action") ?? "allow") !== "allow") throw notSimulated("A firewall rule that denies");
  return { protocol, ports: readPorts(protocol, rule.optionalText("ports")) };
}

function readPorts(protocol: string, ports: string | undefined): string {
  if (protocol === "icmp") return "0";
  if (ports === undefined || ports === "") throw unprocessable(`ports must be given for a ${protocol} rule.`);
  if (ports === "all" || ports === "0") return "0";
  const [first = 0, last = first] = ports.split("-").map(Number);
  if (!/^\d+(-\d+)?$/.test(ports) || first < 1 || last > 65535 || last < first) {
    throw unprocessable(`ports: is ${ports}, must be a port, a range such as 8000-9000, or all.`);
  }
  return ports;
}

function readPeers(state: CloudState, rule: Fields, side: "sources" | "destinations"): Peers {
  const fields = rule.object(side);
  for (const other of ["load_balancer_uids", "kubernetes_ids"]) {
    if (fields && fields.texts(other).length > 0) throw notSimulated(`A firewall rule with ${other}`);
  }
  const addresses = fields?.texts("addresses") ?? [];
  const dropletIds = fields?.integers("droplet_ids") ?? [];
  const tags = existingTags(state, fields?.texts("tags") ?? []);
  if (addresses.length + dropletIds.length + tags.length === 0) throw unprocessable(`${side} must not be empty.`);
  if (!addresses.every(isAddressOrNetwork)) throw unprocessable("invalid address");
  return {
    ...(addresses.length > 0 && { addresses }),
    ...(dropletIds.length > 0 && { droplet_ids: dropletIds }),
    ...(tags.length > 0 && { tags }),
  };
}

function isAddressOrNetwork(text: string): boolean {
  const [address = "", prefix] = text.split("/");
  const version = isIP(address);
  if (version === 0) return false;
  return prefix === undefined || (/^\d+$/.test(prefix) && Number(prefix) <= (version === 6 ? 128 : 32));
}
