import * as pulumi from "@pulumi/pulumi";

import { onThisStack } from "../settings/on-this-stack.ts";
import { account } from "./own-account.ts";

interface ListedCluster {
  id: string;
  name: string;
}

/**
 * Whether there is a cluster with the stack's name. While the database moves between it and the droplet's server, it belongs to the stack,
 * wherever the database is to be.
 *
 * @throws pulumi.RunError if DigitalOcean does not say
 */
export async function hasCluster(label: string): Promise<boolean> {
  try {
    return (await find(label)) !== undefined;
  } catch (error) {
    throw new pulumi.RunError(`convex-droplet:moveDatabase: the stack's cluster cannot be looked up. ${String(error)}`);
  }
}

/**
 * For the `beforeCreate` of a cluster that only an earlier move can have left. One that is not in the stack's state may have data of another
 * stack, and must not give way to an empty one.
 */
export function refuseUnknownCluster(name: string, label: string): pulumi.ResourceHook {
  const refuse = async () => {
    const { id } = (await find(label)) ?? { id: "" };
    throw new Error(
      `convex-droplet:moveDatabase: is true and database is droplet, so cluster ${label} (${id}) should be what a move has left, but it is not in the stack's state. ` +
        `Nothing was changed. Go on without it: ${onThisStack("config rm", "moveDatabase")}; if nobody needs it, delete it: doctl databases delete ${id}`,
    );
  };
  return new pulumi.ResourceHook(`${name}-unknown-cluster`, refuse, { onDryRun: true });
}

async function find(label: string): Promise<ListedCluster | undefined> {
  const clusters = await account().list<ListedCluster>("/v2/databases", "databases");
  return clusters.find(({ name }) => name === label);
}
