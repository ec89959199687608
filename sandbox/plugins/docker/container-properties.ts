import { isDeepStrictEqual } from "node:util";
import { unsupported, type ValuesOf } from "../framework/definition.ts";
import type { Value } from "../framework/values.ts";

const string = { type: "string" } as const;
const strings = { type: "list", items: string } as const;
const stringSet = { type: "set", items: string } as const;
const stringMap = { type: "map", items: string } as const;
const integer = { type: "integer" } as const;
const boolean = { type: "boolean" } as const;
const replaces = true as const;
const computed = true as const;
const duration = { type: "string", default: "0s" } as const;

/** Ports by number; an external port that the engine chose is not compared. */
function inOrder(ports: Value): unknown {
  const list = ports as { internal: number; external?: number; ip: string; protocol: string }[];
  return list
    .map(({ internal, external, ip, protocol }) => [internal, external, ip, protocol])
    .toSorted((one, other) => Number(one[0]) - Number(other[0]));
}

/**
 * The properties of a container. Sizes are in mebibytes, times in seconds, durations in Go's form.
 *
 * A change of `healthcheck`, `init`, `tmpfs`, `start`, `wait` or `rm` is shown as an update, but has no effect, as in the
 * official plugin. With `replaceOnChanges`, it replaces the container.
 */
export const containerInputs = {
  name: { type: "string", autoname: { maxLength: 255 }, replaces },
  image: { type: "string", required: true, replaces },
  command: { ...strings, replaces, computed },
  entrypoints: { ...strings, replaces, computed },
  envs: { ...stringSet, replaces, computed },
  user: { ...string, replaces, computed },
  workingDir: { ...string, replaces, computed },
  hostname: { ...string, replaces, computed },
  labels: {
    type: "set",
    items: {
      type: "object",
      properties: { label: { type: "string", required: true }, value: { type: "string", required: true } },
    },
    replaces,
    computed,
  },
  stopSignal: { ...string, replaces, computed },
  stopTimeout: { ...integer, replaces, computed },
  healthcheck: {
    type: "object",
    properties: {
      tests: strings,
      interval: duration,
      timeout: duration,
      startPeriod: duration,
      startInterval: duration,
      retries: { type: "integer", default: 0 },
    },
    computed,
  },

  ports: {
    type: "list",
    items: {
      type: "object",
      properties: {
        internal: { type: "integer", required: true },
        external: { type: "integer", computed },
        ip: { type: "string", default: "0.0.0.0" },
        protocol: { type: "string", default: "tcp" },
      },
    },
    replaces,
    // The state has them ordered by port.
    same: (state: Value, input: Value) => isDeepStrictEqual(inOrder(state), inOrder(input)),
  },
  networksAdvanced: {
    type: "set",
    items: {
      type: "object",
      properties: {
        name: { type: "string", required: true },
        aliases: stringSet,
        ipv4Address: string,
        ...unsupported("driverOpts", "gwPriority", "ipv6Address", "linkLocalIps", "macAddress"),
      },
    },
    replaces,
  },
  networkMode: { type: "string", default: "bridge", replaces },
  hosts: {
    type: "set",
    items: {
      type: "object",
      properties: { host: { type: "string", required: true }, ip: { type: "string", required: true } },
    },
    replaces,
  },
  dns: { ...stringSet, replaces },

  volumes: {
    type: "set",
    items: {
      type: "object",
      properties: {
        hostPath: string,
        volumeName: string,
        fromContainer: string,
        containerPath: string,
        readOnly: boolean,
        ...unsupported("selinuxRelabel"),
      },
    },
    replaces,
  },
  tmpfs: stringMap,
  readOnly: { type: "boolean", default: false, replaces },

  capabilities: { type: "object", properties: { adds: stringSet, drops: stringSet }, replaces },
  securityOpts: { ...stringSet, replaces, computed },
  groupAdds: { ...stringSet, replaces },
  privileged: { ...boolean, replaces },
  init: { ...boolean, computed },

  restart: { type: "string", values: ["no", "on-failure", "always", "unless-stopped"], default: "no" },
  maxRetryCount: integer,
  memory: integer,
  memoryReservation: integer,
  /** Memory and swap together; -1 for no limit. */
  memorySwap: integer,
  cpuShares: integer,
  cpuSet: string,
  /** Processors that it may use, such as `0.5`. A change is shown as an update, but has no effect. */
  cpus: string,
  shmSize: { ...integer, replaces, computed },

  logDriver: { ...string, replaces, computed },
  logOpts: { ...stringMap, replaces },

  /** Whether a new container is started. */
  start: { type: "boolean", default: true },
  /** Whether it should run: if it is stopped, the next update starts it. */
  mustRun: { type: "boolean", default: true },
  /** Whether a create waits until it is healthy. */
  wait: { type: "boolean", default: false },
  waitTimeout: { type: "integer", default: 60 },
  /** Whether the engine removes it after it has ended. */
  rm: { type: "boolean", default: false },
  /** Whether its anonymous volumes are removed with it. */
  removeVolumes: { type: "boolean", default: true },
  /** In a delete, the time between the stop signal and the kill; if absent, it is killed immediately. */
  destroyGraceSeconds: integer,

  ...unsupported(
    "attach",
    "cgroupParent",
    "cgroupnsMode",
    "containerReadRefreshTimeoutMilliseconds",
    "cpuPeriod",
    "cpuQuota",
    "deviceCgroupRules",
    "deviceReadBps",
    "deviceReadIops",
    "deviceRequests",
    "deviceWriteBps",
    "deviceWriteIops",
    "devices",
    "dnsOpts",
    "dnsSearches",
    "domainname",
    "gpus",
    "ipcMode",
    "logs",
    "mounts",
    "pidMode",
    "platform",
    "publishAllPorts",
    "runtime",
    "stdinOpen",
    "storageOpts",
    "sysctls",
    "tty",
    "ulimits",
    "uploads",
    "usernsMode",
  ),
} as const;

export const containerOutputs = {
  bridge: string,
  exitCode: integer,
  containerLogs: { type: "unsupported" },
  networkDatas: {
    type: "list",
    items: {
      type: "object",
      properties: {
        networkName: string,
        ipAddress: string,
        ipPrefixLength: integer,
        gateway: string,
        globalIpv6Address: string,
        globalIpv6PrefixLength: integer,
        ipv6Gateway: string,
        macAddress: string,
      },
    },
  },
} as const;

/** A container as the resource describes it, with defaults. */
export type ContainerProperties = ValuesOf<typeof containerInputs>;
