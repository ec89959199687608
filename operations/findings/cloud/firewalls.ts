import { TYPES } from "../../../contract/names.ts";
import { accountOf, findDroplet, NO_TOKEN, orNothing } from "../../droplet.ts";
import type { State } from "../../state.ts";
import { type Finding, findingsBy, undeclared } from "../finding.ts";

interface Firewall {
  id: string;
  name: string;
  droplet_ids: number[] | null;
  tags: string[] | null;
  inbound_rules: { protocol: string; ports?: string; sources: Record<string, unknown[] | null> }[] | null;
}

/**
 * Finds other people's cloud firewalls that include the stack's droplet, by its id or by a tag. The access that several
 * firewalls allow adds up, so another one can open what the stack's own keeps closed. The engine knows only the stack's own.
 *
 * @throws Error if the cloud cannot be asked
 */
export async function compareFirewalls(state: State): Promise<Finding[]> {
  const account = accountOf(state);
  const droplet = findDroplet(state)?.id;
  if (droplet === undefined) return [];
  if (account === undefined) throw new Error(NO_TOKEN);
  const firewalls = await orNothing(account.list<Firewall>(`/v2/droplets/${droplet}/firewalls`, "firewalls"));
  const declared = (findDroplet(state)?.inputs["tags"] ?? []) as string[];
  const own = state.all(TYPES.firewall).map(({ id }) => id);
  return (firewalls ?? [])
    .filter(({ id }) => !own.includes(id))
    .map(({ id, name, droplet_ids, tags, inbound_rules }) => {
      const open = (inbound_rules ?? []).map(({ protocol, ports = "", sources }) => {
        const from = Object.values(sources).flatMap((values) => values ?? []);
        return `${protocol}${ports === "" ? "" : ` ${ports === "0" ? "all" : ports}`} from ${from.join(", ")}`;
      });
      // Removing a tag from the firewall would remove all droplets with that tag from it.
      const strange = (tags ?? []).filter((tag) => !declared.includes(tag));
      const way = (droplet_ids ?? []).map(String).includes(droplet)
        ? `, or take the droplet out of it: doctl compute firewall remove-droplets ${id} --droplet-ids ${droplet}`
        : strange.length > 0
          ? `, or take its tag off the droplet: doctl compute droplet untag ${droplet} --tag-name ${strange.join(",")}`
          : `: it holds all droplets with tag ${(tags ?? []).join(", ")}, which every stack's droplet has`;
      const what = open.length === 0 ? "nothing" : open.join("; ");
      return findingsBy("DigitalOcean", "cloud").error(
        `cloud.firewalls[${name}]`,
        undeclared(`allows ${what} in addition to the stack's own firewall, nothing declares it`, open),
        { why: `delete it if nobody needs it${way}` },
      );
    });
}
