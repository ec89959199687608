import * as pulumi from "@pulumi/pulumi";

import { api } from "./api.ts";

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
  const { ssh_keys: keys } = await api<{ ssh_keys: { id: number; name: string; public_key: string }[] }>(
    "GET",
    "/v2/account/keys?per_page=200",
  );
  const lost = keys.find((key) => key.public_key.trim() === publicKey);
  return lost && { what: `SSH key ${lost.name}`, remove: () => api("DELETE", `/v2/account/keys/${lost.id}`) };
}

/** One that guards no other droplet than this stack's. */
async function findFirewall({ name, dropletIds }: Inputs): Promise<Lost | undefined> {
  const { firewalls } = await api<{ firewalls: { id: string; name: string; droplet_ids: number[] | null }[] }>(
    "GET",
    "/v2/firewalls?per_page=200",
  );
  const own = dropletIds as number[];
  const lost = firewalls.find(
    (firewall) => firewall.name === name && (firewall.droplet_ids ?? []).every((id) => own.includes(id)),
  );
  return lost && { what: `firewall ${lost.name}`, remove: () => api("DELETE", `/v2/firewalls/${lost.id}`) };
}

/** One that holds nothing but what is this stack's; that goes to the default project first, as a project must be empty. */
async function findProject({ name, resources }: Inputs): Promise<Lost | undefined> {
  const { projects } = await api<{ projects: { id: string; name: string; is_default: boolean }[] }>(
    "GET",
    "/v2/projects?per_page=200",
  );
  const lost = projects.find((project) => project.name === name && !project.is_default);
  if (lost === undefined) return undefined;
  const held = (
    await api<{ resources: { urn: string }[] }>("GET", `/v2/projects/${lost.id}/resources?per_page=200`)
  ).resources.map(({ urn }) => urn);
  if (!held.every((urn) => (resources as string[]).includes(urn))) return undefined;
  return {
    what: `project ${lost.name}`,
    remove: async () => {
      if (held.length > 0) await api("POST", "/v2/projects/default/resources", { resources: held });
      await api("DELETE", `/v2/projects/${lost.id}`);
    },
  };
}

async function tellOfVolume({ name, region }: Inputs): Promise<undefined> {
  const { volumes } = await api<{ volumes: { id: string }[] }>(
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
