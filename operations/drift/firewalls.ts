import { accountOf, findDroplet, orNothing } from "../droplet.ts";
import type { State } from "../state.ts";
import { error, type Finding } from "./finding.ts";

interface Firewall {
  id: string;
  name: string;
  droplet_ids: number[] | null;
  tags: string[] | null;
  inbound_rules: { protocol: string; ports?: string; sources: Record<string, unknown[] | null> }[] | null;
}

/**
 * Cloud firewalls of others that hold the stack's droplet, by itself or by a tag. What several let in adds up, so that one
 * opens whatever the stack's own keeps closed. The engine knows only its own.
 *
 * @throws Error when the cloud cannot be asked
 */
export async function compareFirewalls(state: State): Promise<Finding[]> {
  const account = accountOf(state);
  const droplet = findDroplet(state)?.id;
  if (account === undefined || droplet === undefined) return [];
  const firewalls = await orNothing(account.list<Firewall>(`/v2/droplets/${droplet}/firewalls`, "firewalls"));
  const own = state.all("digitalocean:index/firewall:Firewall").map(({ id }) => id);
  return (firewalls ?? [])
    .filter(({ id }) => !own.includes(id))
    .map(({ id, name, droplet_ids, tags, inbound_rules }) => {
      const open = (inbound_rules ?? []).map(({ protocol, ports = "", sources }) => {
        const from = Object.values(sources).flatMap((values) => values ?? []);
        return `${protocol}${ports === "" ? "" : ` ${ports === "0" ? "all" : ports}`} from ${from.join(", ")}`;
      });
      const way = (droplet_ids ?? []).map(String).includes(droplet)
        ? `remove-droplets ${id} --droplet-ids ${droplet}`
        : `remove-tags ${id} --tag-names ${(tags ?? []).join(",")}`;
      return error(
        `cloud.firewalls[${name}]`,
        `lets in ${open.length === 0 ? "nothing" : open.join("; ")} beside the stack's own firewall, nothing declares it`,
        { why: `delete it if nobody needs it, or take the droplet out of it: doctl compute firewall ${way}` },
      );
    });
}
