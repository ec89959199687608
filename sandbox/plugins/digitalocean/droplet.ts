import { createHash } from "node:crypto";
import { resource, unsupported, type ValuesOf } from "../framework/definition.ts";
import { failed, InitError, messageOf } from "../framework/errors.ts";
import { waitForState } from "../framework/state-change.ts";
import { type Client, ignoringCase, isNotFound, orGone, WAIT } from "./client.ts";
import { DropletApi, status, type Droplet } from "./droplet-api.ts";
import { updateTags } from "./tags.ts";

const string = { type: "string" } as const;
const number = { type: "number" } as const;
const boolean = { type: "boolean" } as const;
const strings = { type: "set", items: string } as const;

const inputs = {
  image: { type: "string", required: true, replaces: true },
  size: { type: "string", required: true, same: ignoringCase, rewritten: true },
  name: { type: "string", autoname: { maxLength: 255 } },
  region: { type: "string", replaces: true, computed: true, same: ignoringCase, rewritten: true },
  sshKeys: { ...strings, replaces: true },
  // The state has only a hash, because user-data is long and may contain secrets.
  userData: {
    type: "string",
    replaces: true,
    same: (state: unknown, input: unknown) => sha1(input) === state,
    rewritten: true,
  },
  monitoring: { type: "boolean", default: false, replaces: true },
  dropletAgent: { type: "boolean", replaces: true },
  vpcUuid: { type: "string", replaces: true, computed: true },
  ipv6: { type: "boolean", default: false },
  backups: { type: "boolean", default: false },
  backupPolicy: {
    type: "object",
    properties: {
      plan: { type: "string", values: ["daily", "weekly"] },
      weekday: { type: "string", values: ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] },
      hour: { type: "integer" },
    },
  },
  tags: strings,
  volumeIds: { ...strings, computed: true },
  resizeDisk: { type: "boolean", default: true },
  gracefulShutdown: { type: "boolean", default: false },
  ...unsupported("gpuPartitionMode", "ipv6Address", "privateNetworking", "publicNetworking"),
} as const;

const stateOf = (droplet: Droplet) => ({
  name: droplet.name,
  region: droplet.region.slug,
  size: droplet.size.slug,
  monitoring: droplet.features.includes("monitoring"),
  ipv6: droplet.features.includes("ipv6"),
  backups: droplet.features.includes("backups"),
  tags: droplet.tags,
  volumeIds: droplet.volume_ids,
  vpcUuid: droplet.vpc_uuid,
  createdAt: droplet.created_at,
  disk: droplet.disk,
  dropletUrn: `do:droplet:${droplet.id}`,
  ipv4Address: address(droplet.networks.v4, "public"),
  ipv4AddressPrivate: address(droplet.networks.v4, "private"),
  locked: droplet.locked,
  memory: droplet.memory,
  priceHourly: droplet.size.price_hourly,
  priceMonthly: droplet.size.price_monthly,
  status: droplet.status,
  vcpus: droplet.vcpus,
});

/** No preview calls it. */
function checkBackups({ backups, backupPolicy }: Pick<ValuesOf<typeof inputs>, "backups" | "backupPolicy">): void {
  if (backupPolicy !== undefined && !backups) {
    throw new Error("backup_policy can only be set when backups are enabled");
  }
}

async function setBackups(
  droplet: DropletApi,
  { backups, backupPolicy }: ValuesOf<typeof inputs>,
  changed: ReadonlySet<string>,
): Promise<void> {
  if (changed.has("backups") || changed.has("backupPolicy")) checkBackups({ backups, backupPolicy });
  if (changed.has("backups")) {
    await droplet.run(backups ? "enable_backups" : "disable_backups", backups ? { backup_policy: backupPolicy } : {});
  } else if (changed.has("backupPolicy") && backupPolicy !== undefined) {
    await droplet.run("change_backup_policy", { backup_policy: backupPolicy });
  }
}

/** The time for a deleted droplet to be unlocked, off and gone; in seconds. */
const DELETE_TIMEOUT = 60;

export const droplet = resource<Client>()({
  inputs,
  outputs: {
    createdAt: string,
    disk: { ...number, changesOnUpdate: true },
    dropletUrn: string,
    ipv4Address: string,
    ipv4AddressPrivate: string,
    locked: boolean,
    memory: { ...number, changesOnUpdate: true },
    priceHourly: { ...number, changesOnUpdate: true },
    priceMonthly: { ...number, changesOnUpdate: true },
    status: string,
    vcpus: { ...number, changesOnUpdate: true },
  },

  timeouts: { create: WAIT.timeout, update: WAIT.timeout, delete: DELETE_TIMEOUT },

  diff: (changes, olds, news) =>
    // IPv6 cannot be disabled on a droplet.
    changes.map((change) =>
      change.path === "ipv6" && olds["ipv6"] === true && news["ipv6"] === false
        ? { ...change, replaces: true }
        : change,
    ),

  create: async (context, properties) => {
    checkBackups(properties);
    const { droplet: created } = await context.client.api
      .request<{ droplet: Droplet }>("POST", "/v2/droplets", {
        name: properties.name,
        region: properties.region?.toLowerCase(),
        size: properties.size,
        image: numberOrName(properties.image),
        ssh_keys: (properties.sshKeys ?? []).map(numberOrName),
        backups: properties.backups,
        backup_policy: properties.backupPolicy,
        ipv6: properties.ipv6,
        monitoring: properties.monitoring,
        user_data: properties.userData,
        volumes: (properties.volumeIds ?? []).map((id) => ({ id })),
        tags: properties.tags ?? [],
        vpc_uuid: properties.vpcUuid,
        with_droplet_agent: properties.dropletAgent,
      })
      .catch(failed("Error creating droplet"));
    const id = String(created.id);
    const known = properties.userData === undefined ? {} : { userData: sha1(properties.userData) };
    const api = new DropletApi(context, id);
    try {
      await api.waitFor("active", ["new"], status, "create");
      return { id, outputs: { ...stateOf(await api.get()), ...known } };
    } catch (error) {
      // As it was last seen, if it was.
      const last = api.last === undefined ? {} : stateOf(api.last);
      const reason = `Error waiting for droplet (${id}) to become ready: ${messageOf(error)}`;
      throw new InitError(id, { ...last, ...known }, reason, { cause: error });
    }
  },

  read: async (context, { id }) => {
    const found = await orGone(
      context.client.api
        .request<{ droplet: Droplet }>("GET", `/v2/droplets/${id}`)
        .catch(failed("Error retrieving droplet")),
    );
    return found && stateOf(found.droplet);
  },

  update: async (context, { id, state }, properties, changed) => {
    const api = new DropletApi(context, id);
    if (changed.has("size")) await api.resize(properties.size, properties.resizeDisk);
    if (changed.has("name")) {
      await api.start("rename", { name: properties.name });
      await api
        .waitFor(properties.name, ["", state.name ?? ""], ({ name }) => name)
        .catch(failed(`Error waiting for rename droplet (${id}) to finish`));
    }
    await setBackups(api, properties, changed);
    if (changed.has("ipv6") && properties.ipv6) {
      await api.start("enable_ipv6");
      await api
        .waitFor("true", ["", "false"], ({ features }) => String(features.includes("ipv6")))
        .catch(failed(`Error waiting for ipv6 to be turned on for droplet (${id})`));
    }
    if (changed.has("tags")) {
      await updateTags(context.client.api, { type: "droplet", id }, state.tags ?? [], properties.tags ?? []).catch(
        failed("Error updating tags"),
      );
    }
    if (changed.has("volumeIds")) {
      const [old, wanted] = [state.volumeIds ?? [], properties.volumeIds ?? []];
      for (const volume of wanted.filter((one) => !old.includes(one))) await api.attachOrDetach("attach", volume);
      for (const volume of old.filter((one) => !wanted.includes(one))) await api.attachOrDetach("detach", volume);
    }
    const userData = properties.userData === undefined ? {} : { userData: sha1(properties.userData) };
    return { ...stateOf(await api.get()), ...userData };
  },

  delete: async (context, { id, state }) => {
    const { client, signal } = context;
    const api = new DropletApi(context, id);
    // If something else deleted the droplet, this fails: refresh first.
    await api
      .waitFor("false", ["", "true"], ({ locked }) => String(locked), "delete")
      .catch(failed(`Error waiting for droplet to be unlocked for destroy (${id})`));
    if (state.gracefulShutdown === true) {
      await api.start("shutdown");
      await api
        .waitFor("off", ["active"], status, "delete")
        .catch(failed(`Error waiting for droplet (${id}) to become off`));
    }
    const { volume_ids: attached } = await api.get();
    for (const volume of attached) await api.attachOrDetach("detach", volume);
    const asked = await client.api.request("DELETE", `/v2/droplets/${id}`).then(
      () => true,
      (error: unknown) => !isNotFound(error),
    );
    if (!asked) return;
    await waitForState(
      {
        ...WAIT,
        timeout: DELETE_TIMEOUT,
        pending: ["active", "off"],
        target: "Not Found",
        refresh: async () => (await orGone(api.get()))?.status ?? "Not Found",
      },
      client.clock,
      signal,
    ).catch(failed("Error deleting droplet"));
  },
});

const address = (addresses: Droplet["networks"]["v4"], type: "public" | "private"): string =>
  addresses.find((candidate) => candidate.type === type)?.ip_address ?? "";

/** Images and keys are numbers or names; both are strings in the resource. */
const numberOrName = (value: string): string | number => (/^\d+$/.test(value) ? Number(value) : value);

const sha1 = (value: unknown): string => createHash("sha1").update(String(value)).digest("hex");
