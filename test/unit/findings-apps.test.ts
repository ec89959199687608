import { describe, expect, it } from "vitest";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import { compareContainers } from "../../operations/findings/containers/containers.ts";
import { compareNetworks } from "../../operations/findings/containers/networks.ts";
import { compareListeners } from "../../operations/findings/host/listeners.ts";
import { declaredEdge } from "../../operations/findings/expected.ts";
import { repairText } from "../../operations/findings/repair.ts";
import { fromScript } from "../../operations/findings/scripts.ts";
import { namedValues } from "../../contract/scripts.ts";
import { insideOf, stateOf, told } from "./findings.ts";

const MIB = 1024 ** 2;
const WEB = "convex-app-web-0a1b2c";
const DECLARED = {
  ...{ name: WEB, image: "web@sha256:1", envs: ["TOKEN=secret"], command: ["serve"], cpus: "0.5" },
  ...{ restart: "unless-stopped", stopTimeout: 10, logDriver: "json-file", logOpts: { "max-size": "10m" } },
  ...{ memory: 256, memorySwap: 256, hosts: [{ host: "app.example.com", ip: "172.30.0.1" }] },
  networksAdvanced: [{ name: "convex", aliases: ["web"] }],
};
const NETWORK = {
  ...{ name: "convex", driver: "bridge" },
  ipamConfigs: [{ subnet: "172.30.0.0/24", gateway: "172.30.0.1" }],
};
const state = stateOf(
  { type: TYPES.container, name: "convex-app-web", inputs: DECLARED },
  { type: TYPES.network, name: RESOURCES.network, inputs: NETWORK },
);

const CONTAINER = {
  ...{ Id: "0123456789abcdef", Name: `/${WEB}`, Image: "sha256:id", RestartCount: 0, Mounts: [] },
  State: { Status: "running", ExitCode: 0, OOMKilled: false },
  Config: {
    ...{ Env: ["TOKEN=secret"], StopSignal: "SIGQUIT", StopTimeout: 10, Cmd: ["serve"], Hostname: "0123456789ab" },
  },
  HostConfig: {
    ...{ PortBindings: {}, RestartPolicy: { Name: "unless-stopped" }, NanoCpus: 500_000_000 },
    LogConfig: { Type: "json-file", Config: { "max-size": "10m" } },
    ...{ Memory: 256 * MIB, MemorySwap: 256 * MIB, ExtraHosts: ["app.example.com:172.30.0.1"] },
    ...{ IpcMode: "private", CgroupnsMode: "private", ShmSize: 64 * MIB, Runtime: "runc" },
    MaskedPaths: ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware"],
    ReadonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
  },
  NetworkSettings: { Networks: { convex: { Aliases: ["web"], IPAMConfig: null, Links: null } } },
};
const IMAGE = { Id: "sha256:id", RepoDigests: ["web@sha256:1"], Config: { Cmd: ["other"], StopSignal: "SIGQUIT" } };

const inside = (...containers: object[]) => insideOf({ "docker.containers": containers, "docker.images": [IMAGE] });
const found = (parts: object) => told(compareContainers(state, inside({ ...CONTAINER, ...parts })));

describe("the container of an app", () => {
  it("has no finding if it is as declared, with a command of its own and the image's signal to stop", () => {
    expect(found({})).toEqual([]);
  });

  it("that is stopped is a finding about apps, and another version takes its place", () => {
    expect(found({ State: { ...CONTAINER.State, Status: "exited" } })).toEqual([
      [
        `error apps docker.containers containers.${WEB}.state: is exited, it should be running`,
        "replace convex-app-web-version; refresh convex-app-web",
      ],
    ]);
  });

  it("that is gone is made again", () => {
    expect(told(compareContainers(state, inside()))).toEqual([
      [
        `error containers docker.containers containers.${WEB}: is not there, it should run`,
        "replace ; refresh convex-app-web",
      ],
    ]);
  });

  it("that was changed shows what, and no value of a variable", () => {
    const changed = found({
      Config: { ...CONTAINER.Config, Env: ["TOKEN=other-secret"], Cmd: ["other"] },
      HostConfig: { ...CONTAINER.HostConfig, NanoCpus: 0 },
    });
    expect(changed.map(([claim]) => claim.split(": ")[0])).toEqual([
      `error containers docker.containers containers.${WEB}.HostConfig.NanoCpus`,
      `error containers docker.containers containers.${WEB}.command`,
      `error containers docker.containers containers.${WEB}.environment.TOKEN`,
    ]);
    expect(JSON.stringify(changed)).not.toMatch(/secret/);
  });

  it("that needs more memory gets a higher limit of its own", () => {
    const [[claim, repair] = ["", ""]] = found({
      ...{ RestartCount: 2, State: { Status: "restarting", ExitCode: 137, OOMKilled: true } },
    });
    expect(claim).toContain(`error apps docker.containers containers.${WEB}.memory: was killed for memory (2 times`);
    expect(repair).toBe(`docker logs --tail 50 ${WEB}`);
    const [finding] = compareContainers(
      state,
      inside({ ...CONTAINER, RestartCount: 2, State: { Status: "restarting", ExitCode: 137, OOMKilled: true } }),
    );
    expect(finding && repairText("dev", finding.repair)).toContain(
      "config set --stack dev --path apps.web.memoryMb 512",
    );
  });

  it("of a version that a killed run has left over is to be removed", () => {
    const other = { ...CONTAINER, Name: "/convex-app-web-ffffff" };
    expect(told(compareContainers(state, inside(CONTAINER, other)))).toEqual([
      [
        "error apps docker.containers containers.convex-app-web-ffffff: is a version of app web that is not in the stack's state: a run was killed",
        "docker rm --force convex-app-web-ffffff",
      ],
    ]);
  });

  it("that runs a command for an app is no drift, because it ends by itself", () => {
    const task = { ...CONTAINER, Name: "/convex-task-web-00a1b2" };
    expect(told(compareContainers(state, inside(CONTAINER, task)))).toEqual([
      [
        "notice apps docker.containers containers.convex-task-web-00a1b2: is a command that somebody runs for app web, it should end",
        "docker stop convex-task-web-00a1b2",
      ],
    ]);
  });

  it("that runs a job is no drift, because the next run goes on with it", () => {
    const job = { ...CONTAINER, Name: "/convex-job-migrate" };
    expect(told(compareContainers(state, inside(CONTAINER, job)))).toEqual([
      [
        "notice apps docker.containers containers.convex-job-migrate: is job migrate, which a run has started and not seen to its end",
        "docker rm --force convex-job-migrate",
      ],
    ]);
  });

  it("belongs to the containers' network, and other containers still do not", () => {
    const network = {
      ...{ Id: "n", Name: "convex", Driver: "bridge", Options: {}, Labels: {} },
      ...{ Internal: false, Attachable: false, Ingress: false, ConfigOnly: false, EnableIPv6: false },
      IPAM: { Driver: "default", Config: [{ Subnet: "172.30.0.0/24", Gateway: "172.30.0.1" }] },
      Containers: {
        a: { Name: WEB, IPv4Address: "172.30.0.4/24" },
        t: { Name: "convex-task-web-00a1b2", IPv4Address: "172.30.0.6/24" },
        j: { Name: "convex-job-migrate", IPv4Address: "172.30.0.7/24" },
        b: { Name: "stranger", IPv4Address: "172.30.0.5/24" },
      },
    };
    const findings = told(compareNetworks(state, insideOf({ "docker.networks": [network] })));
    expect(findings.map(([, repair]) => repair)).toEqual(["docker network disconnect --force convex stranger"]);
  });

  it("needs no port, and one on loopback is no port that is open to others", () => {
    expect(
      compareListeners(
        state,
        insideOf({ listeners: 'LISTEN 0 4096 127.11.27.45:8080 0.0.0.0:* users:(("docker-proxy",pid=1))' }),
      ),
    ).toEqual([]);
  });
});

it("an app that does not answer points to its log", () => {
  const [finding] = fromScript({
    ...{ script: "apps.sh", area: "apps", subject: "apps[web]", property: "health" },
    ...{
      expected: "ready",
      found: "not ready, it should be one that answers GET /health at port 3000 with 200 to 399",
    },
  });
  expect(finding).toMatchObject({
    ...{ path: "apps[web].health", severity: "error" },
    repair: { why: "see why in the log of its container, which docker ps lists" },
  });
});

it("the names of apps are among the names that a stack serves", () => {
  const stdin = namedValues({
    api_host: "api.example.com",
    app_hosts: ["a.example.com", "b.example.com"],
    address: "192.0.2.7",
  });
  const edge = stateOf({ type: TYPES.command, name: RESOURCES.edge, inputs: { stdin } });
  expect(declaredEdge(edge)?.hosts).toEqual(["api.example.com", "a.example.com", "b.example.com"]);
});
