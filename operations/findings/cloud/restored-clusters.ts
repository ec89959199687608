import { RESOURCES, TYPES } from "../../../contract/names.ts";
import { type RestoredCluster, restoredClusters } from "../../backups/cluster.ts";
import { accountOf, NO_TOKEN } from "../../droplet.ts";
import type { State } from "../../state.ts";
import { npmCommand } from "../../typed.ts";
import { type Finding, findingsBy } from "../finding.ts";

/**
 * Finds clusters that a drill or a restore has made of the stack's managed one and that are still there, because they cost money.
 *
 * @throws Error if the cloud cannot be asked
 */
export async function compareRestoredClusters(state: State): Promise<Finding[]> {
  const [cluster] = state.all(TYPES.cluster).filter(({ name }) => name === RESOURCES.cluster);
  if (cluster === undefined) return [];
  const account = accountOf(state);
  if (account === undefined) throw new Error(NO_TOKEN);
  return leftClusters(state.stack, await restoredClusters(account, String(cluster.inputs["name"])));
}

/** Pure. */
export function leftClusters(stack: string, found: RestoredCluster[]): Finding[] {
  const { warning } = findingsBy("DigitalOcean", "cloud");
  return found.map(({ id, name, created_at: made }) => {
    const message = `${name} of ${made} is there, it should only be there during a drill or a restore`;
    const why =
      "it costs money; if none is at work, one was killed: " +
      `${npmCommand(stack, "drill", "--cluster")} removes it first, or: doctl databases delete ${id}`;
    return warning(["cloud.restored-clusters", id], { message }, { why });
  });
}
