import type Docker from "dockerode";
import { resource } from "../framework/definition.ts";
import { initializing } from "../framework/errors.ts";
import { waitForState } from "../framework/state-change.ts";
import { type Client, failed } from "./daemon.ts";

const string = { type: "string", replaces: true } as const;
const boolean = { type: "boolean", replaces: true } as const;
const stringMap = { type: "map", items: { type: "string" }, replaces: true } as const;

/** The official plugin's waits before it reads or removes a network; in seconds. */
const WAIT = { delay: 2, minTimeout: 5, timeout: 30 } as const;

const stateOf = (network: Docker.NetworkInspectInfo) => ({
  name: network.Name,
  driver: network.Driver,
  scope: network.Scope,
  internal: network.Internal,
  attachable: network.Attachable,
  ingress: network.Ingress,
  ipv6: network.EnableIPv6,
  labels: Object.entries(network.Labels ?? {}).map(([label, value]) => ({ label, value })),
  options: network.Options ?? {},
  ipamDriver: network.IPAM?.Driver ?? "",
  ipamConfigs: (network.IPAM?.Config ?? []).map((config) => ({
    subnet: config["Subnet"],
    ipRange: config["IPRange"],
    gateway: config["Gateway"],
    auxAddress: config["AuxiliaryAddresses"] as unknown as Record<string, string> | undefined,
  })),
});

/** The network as it is now, or undefined if it is gone. */
async function look({ daemon, clock }: Client, id: string, signal: AbortSignal) {
  const docker = await daemon.client();
  let found: Docker.NetworkInspectInfo | undefined;
  await waitForState(
    {
      ...WAIT,
      pending: [],
      target: "looked",
      refresh: async () => {
        found = await inspect(docker, id);
        return "looked";
      },
    },
    clock,
    signal,
  );
  return found && stateOf(found);
}

/** A network that cannot be read counts as gone, whatever the error, as in the official plugin. */
async function inspect(docker: Docker, id: string): Promise<Docker.NetworkInspectInfo | undefined> {
  return docker
    .getNetwork(id)
    .inspect()
    .catch(() => undefined);
}

export const network = resource<Client>()({
  inputs: {
    name: { ...string, autoname: { maxLength: 255 } },
    driver: { ...string, computed: true },
    internal: { ...boolean, computed: true },
    attachable: boolean,
    ingress: boolean,
    ipv6: boolean,
    labels: {
      type: "set",
      items: {
        type: "object",
        properties: { label: { type: "string", required: true }, value: { type: "string", required: true } },
      },
      replaces: true,
    },
    options: { ...stringMap, computed: true },
    ipamDriver: { ...string, default: "default" },
    ipamOptions: stringMap,
    ipamConfigs: {
      type: "set",
      items: {
        type: "object",
        properties: {
          subnet: { type: "string" },
          ipRange: { type: "string" },
          gateway: { type: "string", computed: true },
          auxAddress: { type: "map", items: { type: "string" } },
        },
      },
      replaces: true,
      computed: true,
    },
  },
  outputs: { scope: { type: "string" } },

  create: async ({ client, signal }, properties) => {
    const docker = await client.daemon.client();
    const created = await docker
      .createNetwork({
        Name: properties.name,
        CheckDuplicate: true,
        Driver: properties.driver ?? "bridge",
        Internal: properties.internal ?? false,
        Attachable: properties.attachable ?? false,
        Ingress: properties.ingress ?? false,
        EnableIPv6: properties.ipv6 ?? false,
        Labels: Object.fromEntries((properties.labels ?? []).map(({ label, value }) => [label, value])),
        Options: properties.options ?? {},
        IPAM: {
          Driver: properties.ipamDriver,
          Options: properties.ipamOptions ?? {},
          Config: (properties.ipamConfigs ?? []).map(({ subnet, ipRange, gateway, auxAddress }) => ({
            ...(subnet === undefined ? {} : { Subnet: subnet }),
            ...(ipRange === undefined ? {} : { IPRange: ipRange }),
            ...(gateway === undefined ? {} : { Gateway: gateway }),
            ...(auxAddress === undefined ? {} : { AuxiliaryAddresses: auxAddress }),
          })),
        },
      })
      .catch(failed("Unable to create network"));
    const outputs = await initializing(created.id, {}, () => look(client, created.id, signal));
    return { id: created.id, outputs: outputs ?? {} };
  },

  read: ({ client, signal }, { id }) => look(client, id, signal),

  delete: async ({ client, signal }, { id }) => {
    const docker = await client.daemon.client();
    await waitForState(
      {
        ...WAIT,
        pending: ["pending"],
        target: "removed",
        refresh: async () => {
          if ((await inspect(docker, id)) === undefined) return "removed";
          try {
            await docker.getNetwork(id).remove();
            return "removed";
          } catch (error) {
            if (String(error).includes("has active endpoints")) return "pending";
            throw error;
          }
        },
      },
      client.clock,
      signal,
    );
  },
});
