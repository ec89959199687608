import { RESOURCES, TYPES } from "../../../contract/names.ts";
import { accountOf, findDroplet, NO_TOKEN, orNothing } from "../../droplet.ts";
import type { State } from "../../state.ts";
import { type Finding, findingsBy } from "../finding.ts";

/**
 * Checks whether the stack's reserved address leads to a droplet. If it leads to none, the provider keeps the droplet of the
 * state, so a refresh shows only an address that leads to another droplet, or does not exist.
 *
 * @throws Error if the cloud cannot be asked
 */
export async function compareReservedIp(state: State): Promise<Finding[]> {
  const ip = state.find(TYPES.reservedIp, RESOURCES.reservedIp)?.id;
  const account = accountOf(state);
  const droplet = findDroplet(state)?.id;
  if (ip === undefined || droplet === undefined) return [];
  if (account === undefined) throw new Error(NO_TOKEN);
  const asked = account.ask<{ reserved_ip: { droplet: object | null } }>("GET", `/v2/reserved_ips/${ip}`);
  const found = await orNothing(asked);
  if (found === undefined || found.reserved_ip.droplet !== null) return [];
  const where = [`cloud.${RESOURCES.reservedIp}`, "droplet"] as const;
  const message = `${ip} leads to no droplet, it should lead to ${droplet}`;
  const why = `no refresh shows it, so assign the address: doctl compute reserved-ip-action assign ${ip} ${droplet}`;
  return [findingsBy("DigitalOcean", "cloud").error(where, { expected: droplet, found: "none", message }, { why })];
}
