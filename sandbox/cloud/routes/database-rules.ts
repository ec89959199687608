import { randomUUID } from "node:crypto";
import { isIP } from "node:net";

import { unprocessable } from "../errors.ts";
import { existingTags } from "../lookups.ts";
import type { CloudState, DatabaseRule } from "../records.ts";
import { timestamp } from "../time.ts";
import type { Fields } from "./fields.ts";

const MAX_RULES = 100;

/**
 * The trusted sources of a request. One that existed already keeps its id and time.
 *
 * @throws ApiError 422 if one does not exist or has the wrong form
 */
export function readDatabaseRules(state: CloudState, body: Fields, former: DatabaseRule[]): DatabaseRule[] {
  const rules = body.objects("rules").map((rule) => {
    const [type, value] = [rule.text("type"), rule.text("value")];
    const read = readSource(state, type, value);
    const existing = former.find((other) => other.type === read.type && other.value === read.value);
    return {
      ...{ uuid: existing?.uuid ?? randomUUID(), ...read },
      description: rule.optionalText("description") ?? existing?.description ?? "",
      created_at: existing?.created_at ?? timestamp(),
    };
  });
  if (rules.length > MAX_RULES) throw unprocessable(`a database cluster can have ${MAX_RULES} trusted sources at most`);
  const keys = new Set(rules.map(({ type, value }) => `${type} ${value}`));
  if (keys.size < rules.length) throw unprocessable("duplicate firewall rule");
  return rules;
}

function readSource(state: CloudState, type: string, value: string): Pick<DatabaseRule, "type" | "value"> {
  switch (type) {
    case "droplet":
      if (!state.droplets.some(({ id }) => String(id) === value)) throw unprocessable(`droplet ${value} not found`);
      return { type, value };
    case "tag":
      return { type, value: existingTags(state, [value])[0] ?? value };
    case "ip_addr":
      if (!isNetwork(value)) throw unprocessable(`invalid IPv4 address or network: ${value}`);
      return { type, value };
    case "app":
    case "k8s":
      // The sandbox has neither, so none exists.
      throw unprocessable(`${type} ${value} not found`);
    default:
      throw unprocessable(`invalid firewall rule type: ${type}`);
  }
}

/** IPv6 cannot be trusted. */
function isNetwork(text: string): boolean {
  const [address = "", prefix = "32"] = text.split("/");
  return isIP(address) === 4 && /^\d+$/.test(prefix) && Number(prefix) <= 32;
}
