import * as pulumi from "@pulumi/pulumi";

import { account } from "../digitalocean/own-account.ts";

/** Something in the account that no state knows. */
interface Lost {
  /** For a person. */
  what: string;
  remove: () => Promise<unknown>;
}

type Inputs = Record<string, unknown>;

/** By type: what is in the way of making this stack's, where it can be no other's. */
const FIND: Record<string, (inputs: Inputs) => Promise<Lost | undefined>> = {
  "digitalocean:index/sshKey:SshKey": findKey,
  "digitalocean:index/firewall:Firewall": findFirewall,
  "digitalocean:index/project:Project": findProject,
  "digitalocean:index/volume:Volume": tellOfVolume,
};

/**
 * For the `onError` of what is unique in an account. A run that is killed in the instant between DigitalOcean's answer and
 * the state's writing leaves one that no state knows, and as it has the name, no other can be made. This deletes it, where
 * there is proof that it is this stack's, and the creation is tried again. There is none for a volume, which may hold data:
 * that one a person is told of.
 */
export function deleteLostFromCloud(name: string): pulumi.ErrorHook {
  return new pulumi.ErrorHook(`${name}-lost-in-cloud`, async ({ failedOperation, type, newInputs = {}, errors }) => {
    const refused = /POST \S+: (409|422) /.test(errors[0] ?? "");
    const lost = failedOperation === "create" && refused ? await FIND[type]?.(newInputs) : undefined;
    if (lost === undefined) return false;
    await pulumi.log.warn(
      `${lost.what} is in the account but not in the stack's state: a run was ended while it was made. Deleting it, to make it again.`,
    );
    await lost.remove();
    return true;
  });
}

/** Nobody else has the key's private half. */
async function findKey({ publicKey }: Inputs): Promise<Lost | undefined> {
  const keys = await account().list<{ id: number; name: string; public_key: string }>("/v2/account/keys", "ssh_keys");
  const lost = keys.find((key) => key.public_key.trim() === publicKey);
  return lost && { what: `SSH key ${lost.name}`, remove: () => account().ask("DELETE", `/v2/account/keys/${lost.id}`) };
}

/** One that guards no other droplet than this stack's. */
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

/** One that holds nothing but what is this stack's; that goes to the default project first, as a project must be empty. */
async function findProject({ name, resources }: Inputs): Promise<Lost | undefined> {
  const projects = await account().list<{ id: string; name: string; is_default: boolean }>("/v2/projects", "projects");
  const lost = projects.find((project) => project.name === name && !project.is_default);
  if (lost === undefined) return undefined;
  const found = await account().list<{ urn: string }>(`/v2/projects/${lost.id}/resources`, "resources");
  const held = found.map(({ urn }) => urn);
  if (!held.every((urn) => (resources as string[]).includes(urn))) return undefined;
  return {
    what: `project ${lost.name}`,
    remove: async () => {
      if (held.length > 0) await account().ask("POST", "/v2/projects/default/resources", { resources: held });
      await account().ask("DELETE", `/v2/projects/${lost.id}`);
    },
  };
}

async function tellOfVolume({ name, region }: Inputs): Promise<undefined> {
  const { volumes } = await account().ask<{ volumes: { id: string }[] }>(
    "GET",
    `/v2/volumes?name=${String(name)}&region=${String(region)}`,
  );
  for (const { id } of volumes) {
    await pulumi.log.warn(
      `volume ${String(name)} is in the account but not in the stack's state. If a run was ended while it was made, it is empty: ` +
        `delete it with doctl compute volume delete ${id}, then run npx pulumi up again. If it may hold data, look at it first.`,
    );
  }
  return undefined;
}
