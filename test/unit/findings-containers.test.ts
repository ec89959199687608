import { describe, expect, it } from "vitest";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import { compareContainers } from "../../operations/findings/containers/containers.ts";
import { compareNetworks } from "../../operations/findings/containers/networks.ts";
import { failed, insideOf, stateOf, type Told, told } from "./findings.ts";

const SECRETS = ["declared-and-secret", "found-and-secret", "from-the-image-and-secret"] as const;
const [SECRET, OTHER, DEFAULT] = SECRETS;
const MIB = 1024 ** 2;
const SECONDS = 1e9;

const DECLARED = {
  name: "convex-backend",
  image: "ghcr.io/get-convex/convex-backend@sha256:1",
  envs: [`INSTANCE_SECRET=${SECRET}`, "URL=postgresql://a?b=c"],
  restart: "unless-stopped",
  stopSignal: "SIGINT",
  stopTimeout: 10,
  logDriver: "json-file",
  logOpts: { "max-size": "10m" },
  memory: 2457,
  memorySwap: 2457,
  ports: [
    { internal: 3211, external: 3211, ip: "0.0.0.0" },
    { internal: 3210, external: 3210, ip: "0.0.0.0" },
  ],
  hosts: [{ host: "host.docker.internal", ip: "172.30.0.1" }],
  volumes: [{ hostPath: "/mnt/convex/data", containerPath: "/convex/data" }],
  networksAdvanced: [{ name: "convex", aliases: ["backend"] }],
  healthcheck: { tests: ["CMD", "true"], interval: "10s", timeout: "5s", retries: 5, startPeriod: "30s" },
};

const state = stateOf(
  { type: TYPES.droplet, name: RESOURCES.droplet, outputs: { memory: 4096 } },
  { type: TYPES.container, name: RESOURCES.backend, inputs: DECLARED },
);

const ANONYMOUS = {
  Type: "volume",
  Name: "ab".repeat(32),
  Source: "/var/lib/docker/a",
  Destination: "/cache",
  RW: true,
};
const ENDPOINT = { Aliases: ["backend", "convex-backend", "0123456789ab"], IPAMConfig: null, Links: null };
const CONTAINER = {
  Id: "0123456789abcdef",
  Name: "/convex-backend",
  Image: "sha256:id",
  RestartCount: 0,
  State: { Status: "running", ExitCode: 0, OOMKilled: false, Health: { Status: "healthy" } },
  Mounts: [
    { Type: "bind", Source: "/mnt/convex/data", Destination: "/convex/data", RW: true, Propagation: "rprivate" },
    ANONYMOUS,
  ],
  Config: {
    Env: [...DECLARED.envs, `PATH=${DEFAULT}`],
    StopSignal: "SIGINT",
    StopTimeout: 10,
    Cmd: ["run"],
    User: "",
    Hostname: "0123456789ab",
    ExposedPorts: { "3210/tcp": {}, "3211/tcp": {} },
    Volumes: { "/cache": {}, "/convex/data": {} },
    Healthcheck: {
      ...{ Test: ["CMD", "true"], Interval: 10 * SECONDS, Timeout: 5 * SECONDS },
      ...{ Retries: 5, StartPeriod: 30 * SECONDS },
    },
  },
  HostConfig: {
    PortBindings: {
      "3210/tcp": [{ HostIp: "0.0.0.0", HostPort: "3210" }],
      "3211/tcp": [{ HostIp: "0.0.0.0", HostPort: "3211" }],
    },
    RestartPolicy: { Name: "unless-stopped" },
    LogConfig: { Type: "json-file", Config: { "max-size": "10m" } },
    Memory: 2457 * MIB,
    MemorySwap: 2457 * MIB,
    ExtraHosts: ["host.docker.internal:172.30.0.1"],
    Privileged: false,
    IpcMode: "private",
    CgroupnsMode: "private",
    ShmSize: 64 * MIB,
    Runtime: "runc",
    MaskedPaths: ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware", "/new"],
    ReadonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    BlkioWeight: 0,
    PidsLimit: null,
    Devices: [],
  },
  NetworkSettings: { Networks: { convex: ENDPOINT } },
};
const IMAGE = {
  Id: "sha256:id",
  RepoDigests: ["ghcr.io/get-convex/convex-backend@sha256:1"],
  Config: { Env: [`PATH=${DEFAULT}`], Cmd: ["run"], Volumes: { "/cache": {} }, ExposedPorts: { "3210/tcp": {} } },
};

/** Findings about a backend's container that is as declared, except for these parts. None shows a variable's value. */
function found(parts: object, facts: Record<string, string | object> = {}): Told[] {
  const findings = compareContainers(
    state,
    insideOf({ "docker.containers": [{ ...CONTAINER, ...parts }], "docker.images": [IMAGE], ...facts }),
  );
  const report = JSON.stringify(findings);
  for (const secret of SECRETS) expect(report).not.toContain(secret);
  return told(findings);
}

const config = (parts: object) => ({ Config: { ...CONTAINER.Config, ...parts } });
const host = (parts: object) => ({ HostConfig: { ...CONTAINER.HostConfig, ...parts } });
const endpoint = (parts: object) => ({ NetworkSettings: { Networks: { convex: { ...ENDPOINT, ...parts } } } });
const claim = (path: string, message: string) =>
  `error containers docker.containers containers.convex-backend${path}: ${message}`;
const NEW = "replace convex-backend; refresh convex-backend";

describe("a backend with names and a private authority", () => {
  const AUTHORITY = "/etc/ssl/certs/ca-certificates.crt";
  const declared = {
    ...DECLARED,
    hosts: ["host.docker.internal", "api.example.com"].map((name) => ({ host: name, ip: "172.30.0.1" })),
    volumes: [...DECLARED.volumes, { hostPath: AUTHORITY, containerPath: AUTHORITY, readOnly: true }],
  };
  const HOSTS = ["host.docker.internal:172.30.0.1", "api.example.com:172.30.0.1"];
  const mount = { Type: "bind", Source: AUTHORITY, Destination: AUTHORITY, RW: false, Propagation: "rprivate" };
  const named = {
    ...CONTAINER,
    ...host({ ExtraHosts: HOSTS }),
    ...config({ Volumes: { ...CONTAINER.Config.Volumes, [AUTHORITY]: {} } }),
    Mounts: [...CONTAINER.Mounts, mount],
  };
  const differing = (parts: object) => {
    const facts = { "docker.containers": [{ ...named, ...parts }], "docker.images": [IMAGE] };
    const backend = stateOf({ type: TYPES.container, name: RESOURCES.backend, inputs: declared });
    return told(compareContainers(backend, insideOf(facts)));
  };

  it("has no finding if it is as declared", () => {
    expect(differing({})).toEqual([]);
  });

  it.each<[path: string, parts: object, message: string]>([
    [
      "hosts",
      host({ ExtraHosts: [HOSTS[0], "api.example.com:192.0.2.1"] }),
      'is ["api.example.com:192.0.2.1","host.docker.internal:172.30.0.1"], it should be ["api.example.com:172.30.0.1","host.docker.internal:172.30.0.1"]',
    ],
    [
      "volumes",
      { Mounts: [...CONTAINER.Mounts, { ...mount, RW: true }] },
      `is ["${AUTHORITY}:${AUTHORITY}","/mnt/convex/data:/convex/data"], it should be ["${AUTHORITY}:${AUTHORITY}:ro","/mnt/convex/data:/convex/data"]`,
    ],
  ])("gets a new container for other %s", (path, parts, message) => {
    expect(differing(parts)).toEqual([[claim(`.${path}`, message), NEW]]);
  });
});

describe("a container", () => {
  it.each<[what: string, parts: object, facts?: Record<string, object>]>([
    ["is as declared", {}],
    [
      "is on an older kernel",
      host({ CgroupnsMode: "host", Runtime: "crun" }),
      { "docker.info": { CgroupVersion: "1", DefaultRuntime: "crun" } },
    ],
    [
      "is on a kernel that cannot limit memory",
      host({ Memory: 0, MemorySwap: 0 }),
      { "docker.info": { MemoryLimit: false } },
    ],
    ["is not healthy yet", { State: { ...CONTAINER.State, Health: { Status: "starting" } } }],
  ])("that %s has no finding", (_, parts, facts) => {
    expect(found(parts, facts)).toEqual([]);
  });

  it("is not checked if Docker does not answer", () => {
    expect(found({}, { "docker.containers": failed("Cannot connect") })).toEqual([
      [
        "error containers docker.containers docker: does not answer, so its containers could not be checked",
        "replace convex-setup; refresh ",
      ],
    ]);
  });

  it("is missing", () => {
    expect(found({}, { "docker.containers": [] })).toEqual([
      [claim("", "is not there, it should run"), "replace ; refresh convex-backend"],
    ]);
  });

  it("that nothing declares is found", () => {
    expect(found({}, { "docker.containers": [CONTAINER, { ...CONTAINER, Name: "/app" }] })).toEqual([
      [
        "warning containers docker.containers containers.app: is not one of this stack's, it should not be here",
        "docker rm --force app",
      ],
    ]);
  });

  it.each<[path: string, parts: object, message: string, facts?: Record<string, object>]>([
    [
      "image",
      {},
      "is sha256:2, it should be sha256:1",
      { "docker.images": [{ ...IMAGE, RepoDigests: ["ghcr.io/get-convex/convex-backend@sha256:2"] }] },
    ],
    ["restart", host({ RestartPolicy: { Name: "no" } }), "is no, it should be unless-stopped"],
    [
      "restart.maximum",
      host({ RestartPolicy: { Name: "unless-stopped", MaximumRetryCount: 3 } }),
      "is 3, it should be 0",
    ],
    ["stopSignal", config({ StopSignal: undefined }), "is nothing, it should be SIGINT"],
    ["stopTimeout", config({ StopTimeout: 1 }), "is 1, it should be 10"],
    [
      "logDriver",
      host({ LogConfig: { Type: "none", Config: { "max-size": "10m" } } }),
      "is none, it should be json-file",
    ],
    ["logOpts", host({ LogConfig: { Type: "json-file", Config: {} } }), 'is {}, it should be {"max-size":"10m"}'],
    ["memory", host({ Memory: 0 }), "is 0, it should be 2457"],
    ["memorySwap", host({ MemorySwap: 4914 * MIB }), "is 4914, it should be 2457"],
    [
      "ports",
      host({ PortBindings: { "3210/tcp": [{ HostIp: "", HostPort: "80" }] } }),
      'is [":80->3210/tcp"], it should be ["0.0.0.0:3210->3210/tcp","0.0.0.0:3211->3211/tcp"]',
    ],
    [
      "hosts",
      host({ ExtraHosts: ["it's:192.0.2.1"] }),
      'is ["it\'s:192.0.2.1"], it should be ["host.docker.internal:172.30.0.1"]',
    ],
    [
      "volumes",
      {
        Mounts: [
          { Type: "bind", Source: "/my data", Destination: "/a", RW: false, Propagation: "shared" },
          { ...ANONYMOUS, Name: "named" },
          { ...ANONYMOUS, Destination: "/other" },
        ],
      },
      'is ["/my data:/a:ro:shared","/var/lib/docker/a:/cache:volume","/var/lib/docker/a:/other:volume"], it should be ["/mnt/convex/data:/convex/data"]',
    ],
    ["networks.convex.aliases", endpoint({ Aliases: ["db"] }), 'is ["db"], it should be ["backend"]'],
    [
      "healthcheck.tests",
      config({ Healthcheck: { ...CONTAINER.Config.Healthcheck, Test: ["NONE"] } }),
      'is ["NONE"], it should be ["CMD","true"]',
    ],
    [
      "healthcheck.interval",
      config({ Healthcheck: { ...CONTAINER.Config.Healthcheck, Interval: 1 } }),
      "is 1, it should be 10000000000",
    ],
    [
      "healthcheck.timeout",
      config({ Healthcheck: { ...CONTAINER.Config.Healthcheck, Timeout: 1 } }),
      "is 1, it should be 5000000000",
    ],
    [
      "healthcheck.retries",
      config({ Healthcheck: { ...CONTAINER.Config.Healthcheck, Retries: 1 } }),
      "is 1, it should be 5",
    ],
    [
      "healthcheck.startPeriod",
      config({ Healthcheck: { ...CONTAINER.Config.Healthcheck, StartPeriod: 1 } }),
      "is 1, it should be 30000000000",
    ],
    ["command", config({ Cmd: ["sh"] }), 'is ["sh"], it should be ["run"]'],
    ["user", config({ User: "root" }), "is root, it should be nothing"],
    ["Config.Hostname", config({ Hostname: "db" }), "is db, it should be 0123456789ab"],
    ["Config.Labels", config({ Labels: { a: "b" } }), 'is {"a":"b"}, it should be nothing'],
    [
      "Config.ExposedPorts",
      config({ ExposedPorts: { "3210/tcp": {} } }),
      'is {"3210/tcp":{}}, it should be {"3210/tcp":{},"3211/tcp":{}}',
    ],
    ["privileged", host({ Privileged: true }), "is true, it should be false"],
    ["capabilities", host({ CapAdd: ["NET_ADMIN"] }), 'is ["NET_ADMIN"], it should be []'],
    ["pidMode", host({ PidMode: "host" }), "is host, it should be nothing"],
    ["HostConfig.CgroupnsMode", host({ CgroupnsMode: "host" }), "is host, it should be private"],
    ["HostConfig.Runtime", host({ Runtime: "crun" }), "is crun, it should be runc"],
    ["HostConfig.NewInSomeRelease", host({ NewInSomeRelease: true }), "is true, it should be nothing"],
    [
      "HostConfig.ReadonlyPaths",
      host({ ReadonlyPaths: ["/proc/bus"] }),
      'is ["/proc/bus"], it should be ["/proc/bus","/proc/fs","/proc/irq","/proc/sys","/proc/sysrq-trigger"]',
    ],
    [
      "networks.convex.Address",
      endpoint({ IPAMConfig: { IPv4Address: "172.30.0.9" } }),
      "is 172.30.0.9, it should be nothing",
    ],
    ["networks.convex.Links", endpoint({ Links: ["a"] }), 'is ["a"], it should be nothing'],
  ])("has another %s", (path, parts, message, facts) => {
    expect(found(parts, facts)).toEqual([[claim(`.${path}`, message), NEW]]);
  });

  it("is in other networks", () => {
    expect(found({ NetworkSettings: { Networks: { bridge: { ...ENDPOINT, Aliases: null } } } })).toEqual([
      [claim(".networks", 'is ["bridge"], it should be ["convex"]'), NEW],
      [claim(".networks.convex.aliases", 'is [], it should be ["backend"]'), NEW],
    ]);
  });

  it.each<[what: string, env: string[], message: string]>([
    [
      "has another value",
      [`INSTANCE_SECRET=${OTHER}`, "URL=postgresql://a?b=c", `PATH=${DEFAULT}`],
      "INSTANCE_SECRET: has another value (sha256 67506663…) than it should (sha256 6fe9995e…)",
    ],
    ["is missing", [`INSTANCE_SECRET=${SECRET}`, `PATH=${DEFAULT}`], "URL: is not set, it should be"],
    ["the image sets and that is missing", DECLARED.envs, "PATH: is not set, it should be"],
    ["nothing declares", [...CONTAINER.Config.Env, `it's=${OTHER}`], "it's: is set, it should not be"],
  ])("has a variable that %s, and its value is not shown", (_, Env, expected) => {
    const [path = "", message = ""] = expected.split(": ");
    expect(found(config({ Env }))).toEqual([[claim(`.environment.${path}`, message), NEW]]);
  });

  const health = (path: string, message: string) =>
    `error convex docker.containers containers.convex-backend.${path}: ${message}`;
  it.each<[state: object, told: Told]>([
    [{ Status: "paused" }, [health("state", "is paused, it should be running"), "docker unpause convex-backend"]],
    [{ Status: "exited", ExitCode: 137 }, [health("state", "is exited, it should be running"), NEW]],
    [{ Health: { Status: "unhealthy" } }, [health("health", "is unhealthy, it should be healthy"), NEW]],
  ])("does not serve: %j", (parts, expected) => {
    expect(found({ State: { ...CONTAINER.State, ...parts } })).toEqual([expected]);
  });

  it.each([
    [1, "1 time"],
    [2, "2 times"],
  ])("has died before, %i times", (RestartCount, times) => {
    expect(found({ RestartCount })).toEqual([
      [
        `notice containers docker.containers containers.convex-backend.restarts: has died ${times} since it was last started by hand`,
        "docker logs --tail 50 convex-backend",
      ],
    ]);
  });
});

describe("an upgrade that was undone", () => {
  const OTHER = { ...IMAGE, Id: "sha256:other", RepoDigests: ["backend@sha256:other"] };
  const finding = (image: string) =>
    compareContainers(
      state,
      insideOf({
        "docker.containers": [{ ...CONTAINER, Image: OTHER.Id }],
        "docker.images": [IMAGE, OTHER],
        "docker.refused": `${image}\nwas undone`,
      }),
    ).find(({ property }) => property === "image");

  it("is why the previous image serves, and no other container is proposed", () => {
    expect(finding(DECLARED.image)?.repair).toEqual({ why: "was undone" });
  });

  it("does not explain another image", () => {
    expect(finding("backend@sha256:third")?.repair).toHaveProperty("up");
  });
});

describe("a container that is killed again and again", () => {
  const LIMIT = "it needs more than its limit of 2457 MiB, of the droplet's 4096 MiB";
  const died = (parts: object) => ({ RestartCount: 3, State: { ...CONTAINER.State, Status: "restarting", ...parts } });

  it.each<[parts: object, starved: string, message: string]>([
    [{ ExitCode: 137, OOMKilled: true }, "", `was killed for memory (3 times, it is restarting): ${LIMIT}`],
    [
      { ExitCode: 137 },
      "",
      `ended with 137, as the kernel ends what needs too much memory (3 times, it is restarting): ${LIMIT}`,
    ],
    [{ Status: "running" }, "convex-backend\n", `was killed for memory (3 times, it is running): ${LIMIT}`],
  ])("needs more memory, and nothing else is found: %j", (parts, starved, message) => {
    expect(found(died(parts), { "docker.out_of_memory": starved })).toEqual([
      [claim(".memory", message), "docker logs --tail 50 convex-backend"],
    ]);
  });

  it.each([
    [1024, "s-1vcpu-2gb"],
    [2048, "s-2vcpu-4gb"],
    [4096, "s-4vcpu-8gb"],
    [32_768, "of a larger kind"],
  ])("on a droplet of %i MiB needs the size %s", (memory, size) => {
    const small = stateOf(
      { type: TYPES.droplet, name: RESOURCES.droplet, outputs: { memory } },
      { type: TYPES.container, name: RESOURCES.backend, inputs: DECLARED },
    );
    const containers = [{ ...CONTAINER, ...died({ OOMKilled: true }) }];
    const [finding] = compareContainers(small, insideOf({ "docker.containers": containers, "docker.images": [IMAGE] }));
    expect(finding).toMatchObject({
      ...{ expected: 2457, found: "not enough" },
      repair: {
        why: expect.stringContaining(`npx pulumi config set --stack dev size ${size} && npx pulumi up`) as unknown,
      },
    });
  });

  it.each<[what: string, parts: object]>([
    ["for another reason", died({ ExitCode: 1 })],
    ["by a person", { State: { ...CONTAINER.State, Status: "exited", ExitCode: 137 } }],
  ])("%s needs no more memory", (_, parts) => {
    const claims = found(parts).map(([said]) => said);
    expect(claims.join("\n")).toMatch(/containers\.convex-backend\.state: /);
    expect(claims.join("\n")).not.toContain(".memory");
  });
});

describe("a network", () => {
  const NETWORK = {
    Id: "0123456789abcdef",
    Name: "convex",
    Driver: "bridge",
    Options: { "com.docker.network.enable_ipv4": "true" },
    ...{ Internal: false, Attachable: false, Ingress: false, ConfigOnly: false, EnableIPv6: false, Labels: {} },
    IPAM: { Driver: "default", Options: null, Config: [{ Subnet: "172.30.0.0/24", Gateway: "172.30.0.1" }] },
    Containers: { a: { Name: "convex-backend", IPv4Address: "172.30.0.2/24" } },
  };
  const inputs = {
    ...{ name: "convex", driver: "bridge" },
    ipamConfigs: [{ subnet: "172.30.0.0/24", gateway: "172.30.0.1" }],
  };
  const declared = stateOf(
    { type: TYPES.network, name: RESOURCES.network, inputs },
    { type: TYPES.container, name: RESOURCES.backend, inputs: DECLARED },
  );
  const networks = (...given: object[]) => told(compareNetworks(declared, insideOf({ "docker.networks": given })));
  const said = (path: string, message: string) => `error containers docker.networks networks.${path}: ${message}`;
  const ANEW = "replace convex-network; refresh ";

  it("that is as declared has no finding, and neither have Docker's own", () => {
    const own = ["bridge", "host", "none"].map((Name) => ({ ...NETWORK, Name, Containers: null }));
    expect(networks(NETWORK, ...own)).toEqual([]);
    expect(compareNetworks(declared, insideOf({ "docker.networks": failed() }))).toEqual([]);
  });

  it("is missing", () => {
    expect(networks()).toEqual([[said("convex", "is not there, it should be"), "replace ; refresh convex-network"]]);
  });

  it.each<[parts: object, path: string, message: string]>([
    [{ Driver: "macvlan" }, "driver", "is macvlan, it should be bridge"],
    [
      { IPAM: { Config: [{ Subnet: "172.31.0.0/24", Gateway: "172.30.0.1" }] } },
      "subnet",
      "is 172.31.0.0/24, it should be 172.30.0.0/24",
    ],
    [{ IPAM: { Config: [{ Subnet: "172.30.0.0/24" }] } }, "gateway", "is nothing, it should be 172.30.0.1"],
    [{ Internal: true }, "Internal", "is true, it should be nothing, because nothing declares it"],
    [{ Labels: { a: "it's" } }, "Labels", 'is {"a":"it\'s"}, it should be nothing, because nothing declares it'],
    [{ Options: { mtu: "9000" } }, "Options", 'is {"mtu":"9000"}, it should be nothing, because nothing declares it'],
    [
      { IPAM: { ...NETWORK.IPAM, Driver: "other" } },
      "IpamDriver",
      'is "other", it should be nothing, because nothing declares it',
    ],
    [
      { IPAM: { Config: [{ ...NETWORK.IPAM.Config[0], IPRange: "172.30.0.128/25" }] } },
      "IPRange",
      'is "172.30.0.128/25", it should be nothing, because nothing declares it',
    ],
  ])("has other properties: %j", (parts, path, message) => {
    expect(networks({ ...NETWORK, ...parts })).toEqual([[said(`convex.${path}`, message), ANEW]]);
  });

  it("has a container that nothing declares", () => {
    const Containers = { ...NETWORK.Containers, b: { Name: "app", IPv4Address: "172.30.0.3/24" } };
    expect(networks({ ...NETWORK, Containers })).toEqual([
      [
        said("convex.containers", "app is connected, it should not be: PostgreSQL admits this network"),
        "docker network disconnect --force convex app",
      ],
    ]);
  });

  it("that nothing declares is found", () => {
    expect(networks(NETWORK, { ...NETWORK, Name: "app" })).toEqual([
      [
        "warning containers docker.networks networks.app: is not one of this stack's, it should not be here",
        "docker network rm app",
      ],
    ]);
  });
});
