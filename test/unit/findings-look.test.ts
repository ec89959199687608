import { afterEach, describe, expect, it, vi } from "vitest";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import { fingerprint } from "../../contract/scripts.ts";
import { fromStep } from "../../operations/findings/cloud/refresh.ts";
import type { Finding } from "../../operations/findings/finding.ts";
import type { Fact } from "../../operations/findings/inside.ts";
import { compare, inspect, look } from "../../operations/findings/look.ts";
import { State } from "../../operations/state.ts";
import { failed, insideOf, stateOf, type Told, told } from "./findings.ts";

// All unit tests share a process: another file may have imported what this one mocks.
vi.hoisted(() => vi.resetModules());
const lookInside = vi.hoisted(() => vi.fn());
const readIgnored = vi.hoisted(() => vi.fn<(stack: string) => Promise<string[]>>());
const cloudSteps = vi.hoisted(() => vi.fn<(stack: string) => Promise<Finding[] | undefined>>());
vi.mock(import("../../operations/findings/cloud/refresh.ts"), async (original) => {
  const real = await original();
  return { ...real, compareCloud: async (stack) => (await cloudSteps(stack)) ?? real.compareCloud(stack) };
});
vi.mock(import("../../operations/setting.ts"), async (original) => ({ ...(await original()), readIgnored }));
vi.mock(import("../../operations/findings/inside.ts"), async (original) => ({ ...(await original()), lookInside }));

afterEach(() => {
  vi.unstubAllGlobals();
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

const publicKeyOpenssh = "ssh-ed25519 AAAADeploy";
const SCRIPT = { stderr: "postgres.sh: done, 2 changed\n" };
const RESOURCES_OF_A_STACK = [
  { type: TYPES.key, name: RESOURCES.deployKey, outputs: { publicKeyOpenssh } },
  { type: TYPES.key, name: RESOURCES.hostKey, outputs: { publicKeyOpenssh } },
  { type: TYPES.droplet, name: RESOURCES.droplet, id: "7", outputs: { ipv4Address: "192.0.2.1" } },
  { type: TYPES.volume, name: RESOURCES.volume, id: "v", inputs: { size: 100 } },
  { type: TYPES.command, name: RESOURCES.acceptance },
  { type: "pulumi:providers:digitalocean", name: "default", inputs: { token: "dop_v1" } },
];
const stateWith = (server: object) =>
  stateOf({ type: TYPES.command, name: RESOURCES.server, outputs: { ...server } }, ...RESOURCES_OF_A_STACK);
const state = stateWith(SCRIPT);

/** A droplet on which all is well. */
const WELL = {
  authorized_keys: [{ path: "/root/.ssh/authorized_keys", content: publicKeyOpenssh }],
  "docker.containers": [],
  "postgres.roles": [{ name: "postgres", superuser: true, inherit: true, connection_limit: -1, valid_until: null }],
};

describe("what is compared inside", () => {
  type Differences = Parameters<typeof insideOf>[1][];
  const found = (facts: Record<string, string | object>, ...differences: Differences) =>
    told(compare(state, insideOf({ ...WELL, ...facts }, ...differences)));

  it("is nothing on a droplet on which all is well", () => {
    expect(found({})).toEqual([]);
  });

  const postgres = { script: "postgres.sh", area: "postgres" } as const;
  const workMem = { ...postgres, subject: "postgres.settings", property: "work_mem", expected: "1", found: "2" };
  const pending = { ...postgres, subject: "postgres", property: "pending-restart", expected: "no", found: "yes" };
  const setting = (name: string) => ({
    ...{ name, setting: "2", sourcefile: "/a.conf", sourceline: 1, pending_restart: false, pending_file: null },
  });
  const byServer = (name: string, rest: string): Told => [
    `${rest === "" ? "warning" : "error"} postgres postgres.settings postgres.settings.${name}: is 2${rest} by /a.conf:1${rest === "" ? ", it should not be set there" : ""}`,
    `sed -i '/^[[:space:]]*${name}[[:space:]=]/Id' /a.conf`,
  ];

  it("is the server's finding, not the script's, for a setting that both find", () => {
    expect(found({ "postgres.settings": [setting("work_mem")] }, workMem)).toEqual([
      byServer("work_mem", ", it should be 1: it is set"),
    ]);
  });

  it("is the script's finding for a setting and a restart that the server does not find", () => {
    const repair = "replace convex-server; refresh ";
    expect(found({}, workMem, pending)).toEqual([
      ["error postgres postgres.sh postgres.settings.work_mem: is 2, it should be 1", repair],
      ["error postgres postgres.sh postgres.pending-restart: is yes, it should be no", repair],
    ]);
  });

  it("does not include a restart if the server finds settings", () => {
    expect(found({ "postgres.settings": [setting("other")] }, pending)).toEqual([byServer("other", "")]);
  });

  it.each([
    ["unchanged", true],
    ["done, 2 changed", false],
  ])("after scripts that said %s, says that they are not the fix: %s", (said, isTold) => {
    const tried = stateWith({ stderr: `postgres.sh: ${said}\n` });
    const [finding] = compare(tried, insideOf({ ...WELL, "postgres.roles": failed() }));
    expect(finding?.message.includes("they are not its fix")).toBe(isTold);
  });

  it("does not warn of scripts in a finding that they do not repair", () => {
    const roles = [...WELL["postgres.roles"], { name: "app", superuser: false }];
    const [finding] = compare(
      stateWith({ stderr: "postgres.sh: unchanged\n" }),
      insideOf({ ...WELL, "postgres.roles": roles }),
    );
    expect(finding?.message).toBe("is a role that this stack does not declare");
  });

  it("includes every area", () => {
    const network = { name: "convex", ipamConfigs: [{ subnet: "172.30.0.0/24", gateway: "172.30.0.1" }] };
    const whole = stateOf(
      ...RESOURCES_OF_A_STACK,
      { type: TYPES.network, name: RESOURCES.network, inputs: network },
      {
        type: TYPES.container,
        name: RESOURCES.backend,
        inputs: { name: "convex-backend", envs: [], ports: [], networksAdvanced: [] },
      },
      { type: TYPES.command, name: RESOURCES.functionEnvironment, inputs: { stdin: 'variables={"A":"a"}\n' } },
    );
    const facts = {
      listeners: "LISTEN 0 1 0.0.0.0:80 0.0.0.0:*",
      users: [{ name: "toor", uid: 0, shell: "", password: false, groups: [] }],
      cron: "/etc/cron.d/a",
      "packages.held": "openssl",
      disk: "/ 99% 1%",
      "postgres.roles": failed(),
      "docker.networks": [],
      "routes.rules": [],
      nft: { nftables: [{ chain: { family: "ip", table: "filter", name: "INPUT", policy: "drop" } }] },
      iptables: "",
      "names.order": "dns",
      "functions.environment": {},
    };
    const sources = compare(whole, insideOf({ ...WELL, ...facts }, {})).map(({ source }) => source);
    expect([...new Set(sources)]).toEqual(
      expect.arrayContaining([
        ...["host.sh", "listeners", "users", "cron", "packages", "disk", "postgres", "docker.containers"],
        ...["docker.networks", "routes.rules", "nft", "names.order", "backend.version", "functions.environment"],
      ]),
    );
  });

  it.each<[what: string, facts: Record<string, object>, repair: string]>([
    [
      "needs a server that does not answer, and is repaired with it",
      { "postgres.roles": failed() },
      "replace convex-server; refresh ",
    ],
    ["is itself the cause", {}, "replace convex-backend; refresh convex-backend"],
  ])("a backend that is unhealthy %s", (_, facts, repair) => {
    const inputs = { name: "convex-backend", image: "a@b", envs: [], ports: [], networksAdvanced: [] };
    const backend = stateOf(...RESOURCES_OF_A_STACK, { type: TYPES.container, name: RESOURCES.backend, inputs });
    const container = {
      ...{ Id: "1", Name: "/convex-backend", Mounts: [], Config: { Env: [] }, NetworkSettings: { Networks: {} } },
      ...{ RestartCount: 0, State: { Status: "running", Health: { Status: "unhealthy" } } },
      HostConfig: { RestartPolicy: {}, LogConfig: {} },
    };
    const inside = insideOf({ ...WELL, "docker.containers": [container], ...facts });
    expect(told(compare(backend, inside))).toContainEqual([
      "error convex docker.containers containers.convex-backend.health: is unhealthy, it should be healthy",
      repair,
    ]);
  });

  it("copies changed scripts before a repair runs them, and changes no other repair", () => {
    const file = "/usr/local/lib/convex-droplet/host/host.sh";
    const changed = { subject: `files[${file}]`, property: "content", expected: "a", found: "b" };
    const mode = { subject: `files[${file}]`, property: "mode", expected: "755", found: "777" };
    const facts = { "postgres.roles": failed(), "packages.held": "openssl", "docker.containers": failed() };
    expect(found(facts, changed, mode).map(([, repair]) => repair)).toEqual([
      "replace convex-scripts; refresh ",
      "replace convex-scripts; refresh ",
      `chown root:root ${file} && chmod go-w ${file}`,
      "apt-mark unhold openssl",
      "replace convex-scripts convex-server; refresh ",
      "replace convex-scripts convex-setup; refresh ",
    ]);
  });

  it("leaves a refresh as it is if scripts were changed", () => {
    const network = { name: "convex", ipamConfigs: [{ subnet: "172.30.0.0/24", gateway: "172.30.0.1" }] };
    const declared = stateOf(...RESOURCES_OF_A_STACK, {
      type: TYPES.network,
      name: RESOURCES.network,
      inputs: network,
    });
    const difference = { subject: "files[/usr/local/lib/convex-droplet/a]", expected: "file", found: "nothing" };
    const repairs = told(compare(declared, insideOf({ ...WELL, "docker.networks": [] }, difference)));
    expect(repairs.map(([, repair]) => repair)).toEqual([
      "replace convex-scripts; refresh ",
      "replace ; refresh convex-network",
    ]);
  });
});

describe("an inspection", () => {
  it.each<[fact: Fact, reason: string]>([
    [
      { exitCode: 124, text: "" },
      "the machine's script (postgres) could not check: it took longer than 30 s, while a run is in progress there. Try again.",
    ],
    [failed("no volume\n"), "the machine's script (postgres) could not check: no volume"],
  ])("fails if a script does: %j", async (fact, reason) => {
    lookInside.mockResolvedValueOnce(insideOf({ "check.postgres": fact, run: "at work\n" }));
    await expect(inspect(stateOf(...RESOURCES_OF_A_STACK))).rejects.toThrow(new Error(reason));
  });
});

describe("a look", () => {
  /** Looks at a stack whose engine cannot be asked, with DigitalOcean's answers by the end of their path. */
  async function looked(
    answers: Record<string, object>,
    given: State = stateOf(...RESOURCES_OF_A_STACK),
    ignored: string[] = [],
  ) {
    readIgnored.mockResolvedValueOnce(ignored);
    vi.stubEnv("PATH", "");
    vi.spyOn(State, "read").mockResolvedValue(given);
    vi.stubGlobal("fetch", (url: URL) => {
      const body = answers[new URL(url).pathname];
      return Promise.resolve(body === undefined ? Response.json({ id: "x" }, { status: 401 }) : Response.json(body));
    });
    const { findings, unknown } = await look("dev");
    return { findings: told(findings), unknown };
  }
  const FIREWALLS = { "/v2/droplets/7/firewalls": { firewalls: [] } };
  const volume = (size: number) => ({ "/v2/volumes/v": { volume: { size_gigabytes: size } } });
  const FILE_SYSTEM = {
    script: "host.sh",
    area: "volume",
    subject: "volume.file-system",
    expected: "150",
    found: "100",
  } as const;
  const SMALL: Told = [
    "error volume host.sh volume.file-system: is 100, it should be 150",
    "replace convex-setup convex-server; refresh ",
  ];
  const ENGINE = expect.stringContaining("the cloud cannot be asked: ") as string;

  it("leaves out what the stack's settings ignore, and nothing else", async () => {
    const others = [
      { name: "shop", superuser: false },
      { name: "shop2", superuser: false },
    ];
    const roles = { "postgres.roles": [...WELL["postgres.roles"], ...others] };
    lookInside.mockResolvedValueOnce(insideOf({ ...WELL, ...roles }));
    const { findings } = await looked(FIREWALLS, undefined, ["postgres.roles.shop"]);
    expect(findings.map(([claim]) => claim.split(" ")[3])).toEqual(["postgres.roles.shop2:"]);
  });

  it.each<[what: string, size: number, paths: string[]]>([
    ["with the volume, if that was grown too", 150, ["cloud.convex-volume.size"]],
    ["by a run, if the volume is as declared", 100, ["volume.file-system"]],
  ])("repairs a small file system %s", async (_, size, paths) => {
    lookInside.mockResolvedValueOnce(insideOf(WELL, FILE_SYSTEM));
    const { findings, unknown } = await looked({ ...FIREWALLS, ...volume(size) });
    expect(findings.map(([claim]) => claim.split(" ")[3])).toEqual(paths.map((path) => `${path}:`));
    expect(unknown).toEqual([ENGINE]);
  });

  it("gives one reason for a cloud that cannot be asked, and still what is found inside", async () => {
    lookInside.mockResolvedValueOnce(insideOf(WELL, FILE_SYSTEM));
    expect(await looked({})).toEqual({ findings: [SMALL], unknown: [ENGINE] });
  });

  it.each([
    ["off", [["error cloud DigitalOcean cloud.convex-droplet.status: is off, it should be active"]]],
    ["active", []],
  ])("says of a droplet that does not answer only if it is off: it is %s", async (status, claims) => {
    lookInside.mockRejectedValueOnce(new Error("no route"));
    const droplet = { "/v2/droplets/7": { droplet: { status } } };
    const { findings, unknown } = await looked({ ...FIREWALLS, ...volume(100), ...droplet });
    expect(findings.map(([claim]) => [claim])).toEqual(claims);
    expect(unknown).toEqual([ENGINE, "no route"]);
  });

  it("does not compare a stack that was not deployed to its end", async () => {
    const { unknown } = await looked({ ...FIREWALLS }, stateOf());
    expect(unknown).toEqual([ENGINE, expect.stringContaining("has no convex-acceptance, it should be deployed")]);
  });

  it.each<[what: string, droplet: object | null, paths: string[]]>([
    ["leads to no droplet", null, ["cloud.convex-reserved-ip.droplet"]],
    ["leads to the droplet", { id: 7 }, []],
  ])("asks for a reserved address: it %s", async (_, droplet, paths) => {
    lookInside.mockResolvedValueOnce(insideOf(WELL));
    const ip = { type: TYPES.reservedIp, name: RESOURCES.reservedIp, id: "192.0.2.7" };
    const answers = { ...FIREWALLS, ...volume(100), "/v2/reserved_ips/192.0.2.7": { reserved_ip: { droplet } } };
    const { findings } = await looked(answers, stateOf(...RESOURCES_OF_A_STACK, ip));
    expect(findings.map(([claim]) => claim.split(" ")[3])).toEqual(paths.map((path) => `${path}:`));
  });

  it.each<[what: string, urn: string, paths: string[]]>([
    ["once, if its record was changed", "convex-api-record", ["cloud.convex-api-record.value"]],
    [
      "also if another record was changed",
      "convex-site-record",
      ["cloud.convex-site-record.value", "edge.names[api.example.com]"],
    ],
  ])("reports a name that leads elsewhere %s", async (_, name, paths) => {
    const urn = `urn:pulumi:dev::convex-droplet::convex-droplet:index:Edge$${TYPES.record}::${name}`;
    const step = { op: "update", urn, detailedDiff: { value: { kind: "update" } } };
    cloudSteps.mockResolvedValueOnce([fromStep(step)].flat());
    lookInside.mockResolvedValueOnce(insideOf({ ...WELL, "edge.names": "api.example.com 198.51.100.1" }));
    const record = {
      ...{ type: TYPES.record, name: "convex-api-record" },
      inputs: { domain: "example.com", name: "api" },
    };
    const edge = {
      ...{ type: TYPES.command, name: RESOURCES.edge },
      inputs: { create: `bash edge.sh # ${fingerprint()}`, stdin: "api_host=api.example.com\naddress=192.0.2.7\n" },
    };
    const { findings } = await looked({ ...FIREWALLS, ...volume(100) }, stateOf(...RESOURCES_OF_A_STACK, record, edge));
    expect(findings.map(([claim]) => claim.split(" ")[3])).toEqual(paths.map((path) => `${path}:`));
  });
});
