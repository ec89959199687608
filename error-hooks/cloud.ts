import * as pulumi from "@pulumi/pulumi";

import { account } from "../digitalocean/own-account.ts";
import { onThisStack } from "../settings/on-this-stack.ts";

/** A resource in the account that is in no state. */
interface Lost {
  /** As a person reads it. */
  what: string;
  remove: () => Promise<unknown>;
}

type Inputs = Record<string, unknown>;

/** By type: finds the resource that has the name, if it can only be this stack's. */
const FIND: Record<string, (inputs: Inputs) => Promise<Lost | undefined>> = {
  "digitalocean:index/sshKey:SshKey": findKey,
  "digitalocean:index/firewall:Firewall": findFirewall,
  "digitalocean:index/project:Project": findProject,
  "digitalocean:index/databaseCluster:DatabaseCluster": findCluster,
  "digitalocean:index/volume:Volume": reportVolume,
};

/**
 * For the `onError` of resources with a unique name in the account. If a run is killed after DigitalOcean's answer and before
 * the state is written, a resource exists that is in no state, and no other can be created with its name. This hook deletes it
 * and tries again, if there is proof that it is this stack's. For a volume there is no proof, and it may contain data, so it is
 * only reported.
 */
export function deleteLostFromCloud(name: string): pulumi.ErrorHook {
  return new pulumi.ErrorHook(`${name}-lost-in-cloud`, async ({ failedOperation, type, newInputs = {}, errors }) => {
    const refused = /POST \S+: (409|422) /.test(errors[0] ?? "");
    const lost = failedOperation === "create" && refused ? await FIND[type]?.(newInputs) : undefined;
    if (lost === undefined) return false;
    await pulumi.log.warn(
      `${lost.what} is in the account but not in the stack's state: a run was killed while creating it. Deleting it, to create it again.`,
    );
    await lost.remove();
    return true;
  });
}

/** Nobody else has the private key. */
async function findKey({ publicKey }: Inputs): Promise<Lost | undefined> {
  const keys = await account().list<{ id: number; name: string; public_key: string }>("/v2/account/keys", "ssh_keys");
  const lost = keys.find((key) => key.public_key.trim() === publicKey);
  return lost && { what: `SSH key ${lost.name}`, remove: () => account().ask("DELETE", `/v2/account/keys/${lost.id}`) };
}

/** A firewall that applies to no droplet except this stack's. */
async function findFirewall({ name, dropletIds }: Inputs): Promise<Lost | undefined> {
  const firewalls = await account().list<{ id: string; name: string; droplet_ids: number[] | null }>(
    "/v2/firewalls",
    "firewalls",
  );
  const own = dropletIds as number[];
  const lost = firewalls.find(
    (firewall) => firewall.name === name && (firewall.droplet_ids ?? []).every((id) => own.includes(id)),
  );
  return lost && { what: `firewall ${lost.name}`, remove: () => account().ask("DELETE", `/v2/firewalls/${lost.id}`) };
}

/** An empty project: a run that was killed while creating it could not put anything into it. Another one is only reported. */
async function findProject({ name }: Inputs): Promise<Lost | undefined> {
  const projects = await account().list<{ id: string; name: string; is_default: boolean }>("/v2/projects", "projects");
  const lost = projects.find((project) => project.name === name && !project.is_default);
  if (lost === undefined) return undefined;
  const found = await account().list<{ urn: string }>(`/v2/projects/${lost.id}/resources`, "resources");
  if (found.length > 0) {
    await pulumi.log.warn(
      `project ${lost.name} is in the account but not in the stack's state, and it is not empty. ` +
        `Rename it with doctl projects update ${lost.id} --name ${lost.name}-old, then run ${onThisStack("up")} again.`,
    );
    return undefined;
  }
  return { what: `project ${lost.name}`, remove: () => account().ask("DELETE", `/v2/projects/${lost.id}`) };
}

/**
 * A database cluster that this program has made and not used: it admits no droplet, and has no database but its first one. Another one is
 * only reported.
 */
async function findCluster({ name }: Inputs): Promise<Lost | undefined> {
  const clusters = await account().list<{ id: string; name: string; tags: string[] | null }>(
    "/v2/databases",
    "databases",
  );
  const lost = clusters.find((cluster) => cluster.name === name);
  if (lost === undefined) return undefined;
  const [{ rules }, { dbs }] = await Promise.all([
    account().ask<{ rules: unknown[] | null }>("GET", `/v2/databases/${lost.id}/firewall`),
    account().ask<{ dbs: unknown[] | null }>("GET", `/v2/databases/${lost.id}/dbs`),
  ]);
  const isUnused = (rules ?? []).length === 0 && (dbs ?? []).length <= 1;
  if (isUnused && lost.tags?.includes("convex-droplet") === true) {
    return {
      what: `database cluster ${lost.name}`,
      remove: () => account().ask("DELETE", `/v2/databases/${lost.id}`),
    };
  }
  await pulumi.log.warn(
    `database cluster ${lost.name} is in the account but not in the stack's state, and it may contain data. If nobody needs it, delete it: ` +
      `doctl databases delete ${lost.id}, then run ${onThisStack("up")} again.`,
  );
  return undefined;
}

/** A droplet uses it, or did until the state was lost; or it is empty, because a run was killed before it had a droplet. */
async function reportVolume({ name, region, snapshotId }: Inputs): Promise<undefined> {
  const { volumes } = await account().ask<{ volumes: { id: string; droplet_ids: number[] }[] }>(
    "GET",
    `/v2/volumes?name=${String(name)}&region=${String(region)}`,
  );
  const again = `, then run ${onThisStack("up")} again.`;
  for (const { id, droplet_ids: holders } of volumes) {
    const remove = `delete it with doctl compute volume delete ${id}${again}`;
    const ways =
      snapshotId === undefined
        ? [
            `If it has the data of an instance, use it: ${onThisStack("config set", `adoptVolume ${String(name)}`)}${again}`,
            ...(holders.length > 0 ? [] : [`If a run was killed while creating it, it is empty: ${remove}`]),
          ]
        : [
            `It was made from the snapshot, and the stack may have used it since then. If you do not need what is on it: ${remove}`,
          ];
    await pulumi.log.warn(`volume ${String(name)} is in the account but not in the stack's state. ${ways.join(" ")}`);
  }
  return undefined;
}
