import type { FastifyInstance } from "fastify";

import { actionList, beginAction, findAction, isLocked } from "./actions.ts";
import { lowestFreeHost, privateAddress, publicAddress, v6Address } from "./addresses.ts";
import type { Cloud } from "./cloud.ts";
import { dropletActionRoutes, readBackupPolicy } from "./droplet-actions.ts";
import { notFound, notSimulated, unprocessable } from "./errors.ts";
import { Fields } from "./fields.ts";
import { firewallView } from "./firewalls.ts";
import type { DropletSpec } from "./hypervisor.ts";
import { findImage, imageOf } from "./images.ts";
import { findKey } from "./keys.ts";
import { apiUrl, paginate, queryParameter } from "./pagination.ts";
import { assignToDefault } from "./projects.ts";
import { findRegion, regionOf } from "./regions.ts";
import { findSize, sizeOf } from "./sizes.ts";
import type { CloudState } from "./state.ts";
import { ensureTags, recordedTag } from "./tags.ts";
import { timestamp } from "./time.ts";
import { findVolume, MAX_VOLUMES_PER_DROPLET, volumesOf } from "./volumes.ts";

export interface BackupPolicy {
  plan: "daily" | "weekly";
  weekday?: string;
  hour: number;
}

export interface DropletRecord {
  id: number;
  name: string;
  region: string;
  size: string;
  /** Gigabytes; a droplet resized without its disk keeps the disk of its former size. */
  disk: number;
  image: string;
  /** As asked for; `built` tells whether the machine is there, and the machine itself whether it runs. */
  status: "new" | "active" | "off";
  built: boolean;
  /** Passes for active though its machine is off; see the boot faults. */
  dead: boolean;
  /** The last part of its addresses. */
  host: number;
  public_address: string;
  features: string[];
  backup_policy?: BackupPolicy;
  tags: string[];
  vpc_uuid: string;
  user_data?: string;
  /** The public keys themselves: the account may lose a key that the droplet keeps. */
  ssh_keys: string[];
  created_at: string;
}

const MAX_USER_DATA_BYTES = 64 * 1024;
const MAX_DROPLETS_PER_REQUEST = 10;

export function recordedDroplet(state: CloudState, id: number): DropletRecord {
  const droplet = state.droplets.find((candidate) => candidate.id === id);
  if (!droplet) throw notFound();
  return droplet;
}

/** The droplet that a path names; 404 for what is no number, too. */
export function findDroplet(state: CloudState, id: string): DropletRecord {
  return recordedDroplet(state, Number(id));
}

export function setFeature(droplet: DropletRecord, feature: string, on: boolean): void {
  droplet.features = droplet.features.filter((other) => other !== feature);
  if (on) droplet.features.push(feature);
}

export function dropletSpec(state: CloudState, droplet: DropletRecord): DropletSpec {
  const size = sizeOf(droplet.size);
  return {
    id: droplet.id,
    name: droplet.name,
    region: droplet.region,
    memoryMegabytes: size.memory,
    vcpus: size.vcpus,
    publicAddress: droplet.public_address,
    ...(droplet.user_data !== undefined && { userData: droplet.user_data }),
    sshKeys: droplet.ssh_keys,
    volumeIds: volumesOf(state, droplet.id),
  };
}

/** Whether the droplet is up as a client sees it: a power-off from inside shows, as does a start from outside. */
export async function currentStatus(cloud: Cloud, droplet: DropletRecord): Promise<DropletRecord["status"]> {
  if (droplet.status === "new" || droplet.dead || isLocked(cloud.store.state, droplet.id)) return droplet.status;
  return (await cloud.hypervisor.dropletStatus(droplet.id)) === "running" ? "active" : "off";
}

export async function dropletView(cloud: Cloud, droplet: DropletRecord) {
  const { state } = cloud.store;
  const size = sizeOf(droplet.size);
  return {
    id: droplet.id,
    name: droplet.name,
    memory: size.memory,
    vcpus: size.vcpus,
    disk: droplet.disk,
    disk_info: [{ type: "local", size: { amount: droplet.disk, unit: "gib" } }],
    locked: isLocked(state, droplet.id),
    status: await currentStatus(cloud, droplet),
    kernel: null,
    created_at: droplet.created_at,
    features: droplet.features,
    backup_ids: [] as number[],
    next_backup_window: null,
    snapshot_ids: [] as number[],
    image: imageOf(droplet.image),
    volume_ids: volumesOf(state, droplet.id),
    size,
    size_slug: size.slug,
    networks: networksOf(droplet, cloud.home.addressPrefix),
    region: regionOf(droplet.region),
    tags: droplet.tags,
    vpc_uuid: droplet.vpc_uuid,
  };
}

/** The addresses as clients see them: a droplet has none until it is active, which is what the official provider waits for. */
function networksOf(droplet: DropletRecord, prefix: string) {
  if (droplet.status === "new") return { v4: [], v6: [] };
  return {
    v4: [
      {
        ip_address: privateAddress(droplet.host),
        netmask: "255.255.240.0",
        gateway: privateAddress(0),
        type: "private",
      },
      {
        ip_address: droplet.public_address,
        netmask: "255.255.255.0",
        gateway: publicAddress(prefix, 0),
        type: "public",
      },
    ],
    v6: droplet.features.includes("ipv6")
      ? [{ ip_address: v6Address(droplet.host), netmask: 64, gateway: v6Address(0), type: "public" }]
      : [],
  };
}

function views(cloud: Cloud, droplets: DropletRecord[]) {
  return Promise.all(droplets.map((droplet) => dropletView(cloud, droplet)));
}

interface Id {
  Params: { id: string };
}

export function dropletRoutes(api: FastifyInstance, cloud: Cloud): void {
  const { store } = cloud;

  api.get("/v2/droplets", async (request) => {
    const name = queryParameter(request, "name")?.toLowerCase();
    const tag = queryParameter(request, "tag_name");
    const found = queryParameter(request, "type") === "gpus" ? [] : taggedDroplets(store.state, tag);
    const named = found.filter((droplet) => name === undefined || droplet.name.toLowerCase() === name);
    const page = paginate(request, "droplets", named);
    return { ...page, droplets: await views(cloud, page.droplets) };
  });

  api.post("/v2/droplets", async (request, reply) => {
    const body = new Fields(request.body);
    const names = body.has("names") ? body.texts("names") : [body.text("name")];
    if (names.length === 0 || names.length > MAX_DROPLETS_PER_REQUEST) {
      throw unprocessable(`names: has ${names.length} names, must have 1 to ${MAX_DROPLETS_PER_REQUEST}.`);
    }
    const created = await store.change((draft) =>
      names.map((name) => {
        const droplet = addDroplet(draft, cloud.home.addressPrefix, name, body);
        return { droplet, action: beginAction(draft, droplet.region, { kind: "create", droplet_id: droplet.id }) };
      }),
    );
    for (const { action } of created) cloud.actions.start(action);
    const droplets = await views(
      cloud,
      created.map(({ droplet }) => droplet),
    );
    const actions = created.map(({ action: { id } }) => ({
      id,
      rel: "create",
      href: `${apiUrl(request)}/v2/actions/${id}`,
    }));
    void reply.code(202);
    return { ...(body.has("names") ? { droplets } : { droplet: droplets[0] }), links: { actions } };
  });

  api.delete("/v2/droplets", async (request, reply) => {
    const tag = queryParameter(request, "tag_name");
    if (tag === undefined) throw unprocessable("tag_name: is absent, must name the droplets to delete.");
    const actions = await store.change((draft) =>
      taggedDroplets(draft, recordedTag(draft, tag)).map((droplet) => beginDestroy(draft, droplet)),
    );
    for (const action of actions) cloud.actions.start(action);
    return reply.code(204).send();
  });

  api.get<Id>("/v2/droplets/:id", async (request) => ({
    droplet: await dropletView(cloud, findDroplet(store.state, request.params.id)),
  }));

  api.delete<Id>("/v2/droplets/:id", async (request, reply) => {
    cloud.actions.start(await store.change((draft) => beginDestroy(draft, findDroplet(draft, request.params.id))));
    return reply.code(204).send();
  });

  api.get<Id>("/v2/droplets/:id/actions", (request) => {
    const { id } = findDroplet(store.state, request.params.id);
    return paginate(
      request,
      "actions",
      actionList(store.state, (work) => !("volume_id" in work) && work.droplet_id === id),
    );
  });

  api.get<{ Params: { id: string; action: string } }>("/v2/droplets/:id/actions/:action", (request) => {
    const { id } = findDroplet(store.state, request.params.id);
    return findAction(store.state, request.params.action, (work) => work.droplet_id === id);
  });

  api.get<Id>("/v2/droplets/:id/firewalls", (request) => {
    const { id, tags } = findDroplet(store.state, request.params.id);
    const firewalls = store.state.firewalls.filter(
      (firewall) => firewall.droplet_ids.includes(id) || firewall.tags.some((tag) => tags.includes(tag)),
    );
    return paginate(request, "firewalls", firewalls.map(firewallView));
  });

  api.get<Id>("/v2/droplets/:id/backups/policy", (request) => {
    const droplet = findDroplet(store.state, request.params.id);
    const backups = droplet.backup_policy;
    return {
      policy: {
        droplet_id: droplet.id,
        backup_enabled: backups !== undefined,
        ...(backups && {
          backup_policy: {
            ...backups,
            window_length_hours: 4,
            retention_period_days: backups.plan === "daily" ? 7 : 28,
          },
        }),
        next_backup_window: null,
      },
    };
  });

  // A droplet here is alone on its hardware, and there are no snapshots, backups or kernels to choose from.
  api.get<Id>("/v2/droplets/:id/neighbors", (request) => {
    findDroplet(store.state, request.params.id);
    return { droplets: [] };
  });
  for (const list of ["kernels", "snapshots", "backups"]) {
    api.get<Id>(`/v2/droplets/:id/${list}`, (request) => {
      findDroplet(store.state, request.params.id);
      return paginate(request, list, []);
    });
  }

  dropletActionRoutes(api, cloud);
}

/** All droplets, or those with a tag. */
export function taggedDroplets(state: CloudState, tag: string | undefined): DropletRecord[] {
  if (tag === undefined) return state.droplets;
  return state.droplets.filter((droplet) => droplet.tags.some((own) => own.toLowerCase() === tag.toLowerCase()));
}

function beginDestroy(draft: CloudState, droplet: DropletRecord) {
  return beginAction(draft, droplet.region, { kind: "destroy", droplet_id: droplet.id });
}

function addDroplet(draft: CloudState, addressPrefix: string, name: string, body: Fields): DropletRecord {
  checkDropletName(name);
  const region = findRegion(body.text("region"));
  if (!region) throw unprocessable("You specified an invalid region for Droplet creation.");
  if (!region.available) throw unprocessable("Region is not available");
  const size = findSize(body.text("size"));
  if (!size) throw unprocessable("You specified an invalid size for Droplet creation.");
  if (!size.regions.includes(region.slug)) throw unprocessable("Size is not available in this region.");
  const image = findImage(body.identifier("image"));
  if (!image) throw unprocessable("You specified an invalid image for Droplet creation.");
  const userData = body.optionalText("user_data");
  if (userData !== undefined && Buffer.byteLength(userData) > MAX_USER_DATA_BYTES) {
    throw unprocessable("User data is too large: it must be 64 KiB or less.");
  }
  const vpc = body.optionalText("vpc_uuid") ?? draft.account.vpc_uuid;
  if (vpc !== draft.account.vpc_uuid) throw notSimulated("A VPC other than the account's default one");
  if (body.optionalFlag("public_networking") === false) throw notSimulated("A droplet without public networking");

  const sshKeys = readSshKeys(draft, body);
  const backupPolicy = body.optionalFlag("backups") ? readBackupPolicy(body) : undefined;
  const host = lowestFreeHost(draft.droplets.map((droplet) => droplet.host));
  const droplet: DropletRecord = {
    id: draft.next.droplet++,
    name,
    region: region.slug,
    size: size.slug,
    disk: size.disk,
    image: image.slug,
    status: "new",
    built: false,
    dead: false,
    host,
    public_address: publicAddress(addressPrefix, host),
    features: [
      ...(body.optionalFlag("backups") ? ["backups"] : []),
      ...(body.optionalFlag("monitoring") ? ["monitoring"] : []),
      ...(body.optionalFlag("with_droplet_agent") === false ? [] : ["droplet_agent"]),
      ...(body.optionalFlag("ipv6") ? ["ipv6"] : []),
      // Every droplet is in a VPC now, whatever the request says.
      "private_networking",
    ],
    ...(backupPolicy && { backup_policy: backupPolicy }),
    tags: ensureTags(draft, body.texts("tags")),
    vpc_uuid: vpc,
    ...(userData !== undefined && { user_data: userData }),
    ssh_keys: sshKeys,
    created_at: timestamp(),
  };
  claimVolumes(draft, droplet, body);
  draft.droplets.push(droplet);
  assignToDefault(draft, `do:droplet:${droplet.id}`);
  return droplet;
}

export function checkDropletName(name: string): void {
  const labels = name.split(".");
  const valid = labels.every((label) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(label));
  if (!valid || name.length > 255) {
    throw unprocessable("Only valid hostname characters are allowed. (a-z, A-Z, 0-9, . and -)");
  }
}

function readSshKeys(draft: CloudState, body: Fields): string[] {
  const keys = body.scalars("ssh_keys").map((identifier) => ({ identifier, key: findKey(draft, String(identifier)) }));
  const unknown = keys.filter(({ key }) => key === undefined).map(({ identifier }) => identifier);
  if (unknown.length > 0) {
    throw unprocessable(`${unknown.join(", ")} are invalid key identifiers for Droplet creation.`);
  }
  return keys.flatMap(({ key }) => (key ? [key.public_key] : []));
}

function claimVolumes(draft: CloudState, droplet: DropletRecord, body: Fields): void {
  const ids = body
    .identifiersOrObjects("volumes")
    .map((volume) => (typeof volume === "string" ? volume : volume.text("id")));
  if (ids.length > MAX_VOLUMES_PER_DROPLET) throw unprocessable("exceed max volume count");
  for (const id of ids) {
    const volume = findVolume(draft, id);
    if (!volume || volume.droplet_id !== null || volume.region !== droplet.region) {
      throw unprocessable("Invalid volume allocations");
    }
    volume.droplet_id = droplet.id;
  }
}
