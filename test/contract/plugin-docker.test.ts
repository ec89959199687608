import { once } from "node:events";
import { createServer, request } from "node:http";
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import Docker from "dockerode";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Secret, UNKNOWN } from "../../sandbox/plugins/framework/values.ts";
import { startRegistry, stopRegistry } from "../../sandbox/images/registry.ts";
import { SANDBOX_LABEL } from "../../sandbox/home.ts";
import { TestSandbox } from "./images-harness.ts";
import { Waits } from "./plugin-clock.ts";
import { PluginClient } from "./plugin-client.ts";
import type { Inputs, Made } from "./plugin-client.ts";
import { expectSame, isOriginal, standInOnly } from "./plugin-subject.ts";

const CONTAINER = "docker:index/container:Container";
const NETWORK = "docker:index/network:Network";
const IMAGE = "docker:index/remoteImage:RemoteImage";

const engine = new Docker();

let folder: string;
let sandbox: TestSandbox;
let plugin: PluginClient;
/** A reference in the registry, by digest. */
let image: string;
let waits: Waits;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "plugin-docker-"));
  sandbox = await TestSandbox.create();
  await startRegistry(sandbox.home);
  image = await publishImage();
  waits = new Waits(path.join(folder, "sleeps"), isOriginal("docker"));
  plugin = await start();
  await plugin.configure();
});
afterAll(async () => {
  await (plugin as PluginClient | undefined)?.[Symbol.asyncDispose]();
  await stopRegistry(sandbox.home);
  const label = { label: [`${SANDBOX_LABEL}=${sandbox.home.id}`] };
  for (const { Id } of await engine.listContainers({ all: true, filters: label })) {
    await engine.getContainer(Id).remove({ force: true, v: true });
  }
  for (const { Id } of await engine.listNetworks({ filters: label })) {
    if (Id !== (await engine.getNetwork(sandbox.network.name).inspect()).Id) await engine.getNetwork(Id).remove();
  }
  for (const { Id } of await engine.listImages({ filters: { reference: [repository()] } })) {
    await engine.getImage(Id).remove({ force: true });
  }
  await sandbox[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const repository = (): string => `127.0.0.1:${sandbox.home.registryPort}/plugin-test`;

/** Makes an image with only busybox, pushes it, and removes it from the engine. */
async function publishImage(): Promise<string> {
  const root = path.join(folder, "root");
  await mkdir(path.join(root, "bin"), { recursive: true });
  await copyFile("/bin/busybox", path.join(root, "bin/busybox"));
  for (const applet of ["sh", "sleep", "cat", "touch", "true", "false"]) {
    await symlink("busybox", path.join(root, "bin", applet));
  }
  const tag = `${repository()}:1`;
  const tar = execa("tar", ["-C", root, "-c", "."], { encoding: "buffer" });
  await execa("docker", ["import", "--change", 'CMD ["/bin/sleep", "600"]', "-", tag], { input: (await tar).stdout });
  await execa("docker", ["push", tag]);
  const { RepoDigests: digests } = await engine.getImage(tag).inspect();
  await engine.getImage(tag).remove({ force: true });
  return digests[0] ?? "";
}

async function start(env: Record<string, string> = {}): Promise<PluginClient> {
  return PluginClient.start("docker", {
    standIn: path.resolve("test/contract/plugin-docker-main.ts"),
    env: { PLUGIN_SLEEPS: path.join(folder, "sleeps"), DOCKER_HOST: "", ...env },
  });
}

let count = 0;
/** A name that only this test run uses. */
const name = (): string => `plugin-test-${sandbox.home.id}-${++count}`;

const labels = () => [{ label: SANDBOX_LABEL, value: sandbox.home.id }];

const container = (): Inputs => ({ name: name(), image, labels: labels(), command: ["sleep", "600"] });

async function refreshed(made: Made): Promise<Made> {
  const found = await plugin.read(made);
  if (found === undefined) throw new Error(`${made.urn}: is gone`);
  return found;
}

const inspect = (made: Made) => engine.getContainer(made.id).inspect();

const unlessOriginal = standInOnly("docker", "the official plugin has all of it");

describe("the provider", () => {
  unlessOriginal("refuses hosts that are no Unix sockets", async () => {
    await using client = await start();
    for (const host of ["ssh://root@192.0.2.1", "tcp://127.0.0.1:2375"]) {
      await expect(client.configure({ host })).rejects.toThrow(
        `host: ${host} is not in the sandbox's stand-in, it should be unix:///path/to/docker.sock.`,
      );
    }
  });

  test("checks for the engine in its configuration, not before, and fails without a reason", async () => {
    await using client = await start();
    const host = "unix:///nowhere/docker.sock";
    expect(await client.checkConfig({ host })).toEqual({ host });
    await expect(client.configure({ host })).rejects.toThrow(
      /^2 UNKNOWN: docker native provider returned an unexpected error from Configure: failed to connect to any docker daemon$/,
    );
  });

  test("does not accept an engine that answers with an error", async () => {
    const socket = path.join(folder, "broken.sock");
    const asked: string[] = [];
    const server = createServer((question, answer) => {
      asked.push(`${question.method ?? ""} ${question.url ?? ""}`);
      answer.writeHead(502).end();
    });
    server.listen(socket);
    await once(server, "listening");
    await using client = await start();
    await expect(client.configure({ host: `unix://${socket}` })).rejects.toThrow(
      "failed to connect to any docker daemon",
    );
    expect(asked).toEqual(["HEAD /_ping", "GET /_ping"]);
    server.closeAllConnections();
    server.close();
  });

  test("waits for the engine's answer without limit", async () => {
    await using watched = await watch();
    await using client = await start();
    let configured = false;
    watched.hold();
    const configuring = client.configure({ host: watched.host }).then(() => (configured = true));
    await expect.poll(() => watched.requests).toEqual(["HEAD /_ping"]);
    await sleep(2000);
    expect(configured).toBe(false);
    watched.release();
    await configuring;
  });

  test("checks again at its first use, and then uses the engine's version of the API", async () => {
    await using watched = await watch();
    await using client = await start();
    await client.configure({ host: watched.host });
    expect(watched.requests.splice(0)).toEqual(["HEAD /_ping"]);
    const made = await client.create(IMAGE, { name: image, keepLocally: true });
    const version = await engine.version();
    const first = watched.requests.splice(0);
    expect(first.slice(0, 3)).toEqual(["HEAD /_ping", "HEAD /_ping", `GET /v${version.ApiVersion}/version`]);
    for (const request of first.slice(3)) expect(request).toContain(` /v${version.ApiVersion}/`);
    await client.read(made);
    expect(watched.requests).not.toContain("HEAD /_ping");
  });

  test("shows what it did not reach if the engine is gone at its first use", async () => {
    const watched = await watch();
    await using client = await start();
    await client.configure({ host: watched.host });
    await watched[Symbol.asyncDispose]();
    await expect(client.create(NETWORK, { name: name() })).rejects.toThrow(
      `failed to create Docker client: Error pinging Docker server, please make sure that ${watched.host} is reachable and ` +
        `has a  '_ping' endpoint. Error: Cannot connect to the Docker daemon at ${watched.host}. Is the docker daemon running?`,
    );
  });

  test("reads its host from the environment, and does not store it", async () => {
    await using client = await start({ DOCKER_HOST: "unix:///nowhere.sock" });
    expect(await client.checkConfig({})).toEqual({});
    await expect(client.configure({})).rejects.toThrow("failed to connect to any docker daemon");
  });

  test("continues when the user cancels", async () => {
    await using client = await start();
    await client.configure();
    await client.cancel();
    const made = await client.create(IMAGE, { name: image, keepLocally: true });
    expect(made.state["repoDigest"]).toBe(image);
  });

  unlessOriginal("refuses what the stand-in does not have", async () => {
    await expect(plugin.checkConfig({ sshOpts: '["-i", "key"]' })).rejects.toThrow("sshOpts is not implemented");
  });
});

/** A socket that forwards to the engine, and records the requests. */
async function watch() {
  const socket = path.join(folder, `watched-${++count}.sock`);
  const requests: string[] = [];
  let gate: Promise<unknown> = Promise.resolve();
  let release: (value: undefined) => void = () => undefined;
  const server = createServer((asked, answer) => {
    requests.push(`${asked.method ?? ""} ${asked.url ?? ""}`);
    void gate.then(() => {
      const { method, url, headers } = asked;
      const passed = request({ socketPath: "/var/run/docker.sock", method, path: url, headers }, (real) => {
        answer.writeHead(real.statusCode ?? 500, real.headers);
        real.pipe(answer);
      });
      asked.pipe(passed);
    });
  });
  server.listen(socket);
  await once(server, "listening");
  return {
    host: `unix://${socket}`,
    requests,
    hold: () => {
      const { promise, resolve } = Promise.withResolvers<undefined>();
      gate = promise;
      release = resolve;
    },
    release: () => {
      release(undefined);
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

describe("Network", () => {
  const network = (): Inputs => ({
    name: name(),
    labels: labels(),
    ipamConfigs: [{ subnet: "198.51.100.0/28", gateway: "198.51.100.1" }],
  });

  test("is created, read after 2 seconds each time, and removed", async () => {
    const inputs = network();
    waits.restart();
    const made = await plugin.create(NETWORK, inputs);
    expect(waits.were(2)).toBe(true);
    expect(made.state).toMatchObject({
      ...inputs,
      driver: "bridge",
      scope: "local",
      internal: false,
      ipamDriver: "default",
    });
    expectSame(await refreshed(made), made);
    expect(waits.were(2)).toBe(true);
    expect((await plugin.diff(made, inputs)).diffs).toEqual([]);
    await plugin.delete(made);
    expect(waits.were(2)).toBe(true);
    expect(await plugin.read(made)).toBeUndefined();
    await plugin.delete(made);
  });

  test("is replaced by every change, the old one deleted first because both have one name", async () => {
    const inputs = network();
    const made = await plugin.create(NETWORK, inputs);
    for (const [property, value] of Object.entries({
      driver: "macvlan",
      internal: true,
      attachable: true,
      ingress: true,
      ipv6: true,
      labels: [],
      options: { a: "b" },
      ipamDriver: "other",
      ipamOptions: { a: "b" },
      ipamConfigs: [{ subnet: "198.51.100.16/28" }],
    })) {
      expect(await plugin.diff(made, { ...inputs, [property]: value }), property).toMatchObject({
        replaces: [property],
        deleteBeforeReplace: true,
      });
    }
    await plugin.delete(made);
  });

  test("waits 30 seconds for its containers to leave", async () => {
    const made = await plugin.create(NETWORK, network());
    const inside = await plugin.create(CONTAINER, { ...container(), networksAdvanced: [{ name: made.state["name"] }] });
    waits.restart();
    await expect(plugin.delete(made)).rejects.toThrow("timeout while waiting for state to become 'removed'");
    expect(waits.were(2, 5, 10, 10, "rest")).toBe(true);
    await plugin.delete(inside);
    await plugin.delete(made);
  });
});

describe("RemoteImage", () => {
  test("is pulled only if it is absent", async () => {
    const made = await plugin.create(IMAGE, { name: image });
    expect(made.state["imageId"]).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(made.state["repoDigest"]).toBe(image);
    expect(made.id).toBe(`${made.state["imageId"] as string}${image}`);
    expectSame(await refreshed(made), made);
    expect((await plugin.diff(made, { name: image })).diffs).toEqual([]);

    // If the engine has the image, no registry is asked.
    await engine.getImage(image).tag({ repo: "registry.invalid/plugin-test", tag: sandbox.home.id });
    const local = await plugin.create(IMAGE, { name: `registry.invalid/plugin-test:${sandbox.home.id}` });
    await plugin.delete(local);
    await plugin.delete(made);
    expect(await plugin.read(made)).toBeUndefined();
    await plugin.delete(made);
  });

  test("stays in the engine if it is configured so", async () => {
    const made = await plugin.create(IMAGE, { name: image });
    expect(await plugin.diff(made, { name: image, keepLocally: true })).toMatchObject({
      diffs: ["keepLocally"],
      replaces: [],
    });
    const kept = await plugin.update(made, { name: image, keepLocally: true });
    expect(kept.state).toEqual({ ...made.state, keepLocally: true });
    await plugin.delete(kept);
    expectSame(await refreshed(kept), kept);
  });

  test("is replaced, the new one first, for another name or trigger", async () => {
    const made = await plugin.create(IMAGE, { name: image, keepLocally: true });
    for (const change of [{ name: "other" }, { triggers: { a: "b" } }, { pullTriggers: ["a"] }]) {
      const diff = await plugin.diff(made, { name: image, keepLocally: true, ...change });
      expect(diff).toMatchObject({ replaces: Object.keys(change), deleteBeforeReplace: false });
    }
  });

  test("fails with its name if it does not exist", async () => {
    const missing = `${repository()}:missing`;
    await expect(plugin.create(IMAGE, { name: missing })).rejects.toThrow(
      new RegExp(`Unable to read Docker image into resource: unable to pull image ${missing}: .*not found`),
    );
  });

  unlessOriginal("refuses what the stand-in does not have", async () => {
    await expect(plugin.check(IMAGE, { name: image, platform: "arm64" })).rejects.toThrow(
      "platform is not implemented",
    );
  });
});

describe("Container", () => {
  const healthcheck = {
    tests: ["CMD", "true"],
    interval: "1m0s",
    timeout: "5s",
    startPeriod: "10s",
    startInterval: "0s",
    retries: 3,
  };

  test("is created as described, pulling its image, and reads back as described", async () => {
    const inputs = {
      ...container(),
      entrypoints: ["/bin/busybox"],
      envs: ["A=1", "B=two words"],
      user: "0:0",
      workingDir: "/bin",
      hostname: "inside",
      stopSignal: "SIGINT",
      stopTimeout: 7,
      healthcheck,
      ports: [
        { internal: 53, external: 18053, ip: "127.0.0.1", protocol: "udp" },
        { internal: 80, external: 18080, ip: "127.0.0.1" },
      ],
      hosts: [{ host: "host.docker.internal", ip: "host-gateway" }],
      dns: ["192.0.2.53"],
      volumes: [{ hostPath: folder, containerPath: "/data", readOnly: true }, { containerPath: "/anonymous" }],
      tmpfs: { "/scratch": "size=1m" },
      readOnly: true,
      capabilities: { adds: ["CAP_NET_ADMIN"], drops: ["CAP_CHOWN"] },
      securityOpts: ["no-new-privileges"],
      groupAdds: ["27"],
      init: true,
      restart: "unless-stopped",
      logDriver: "json-file",
      logOpts: { "max-size": "1m" },
      shmSize: 32,
      cpus: "0.5",
    };
    const made = await plugin.create(CONTAINER, inputs);
    const { Name, Config, HostConfig, State } = await inspect(made);
    expect(Name).toBe(`/${made.state["name"] as string}`);
    expect(State.Running).toBe(true);
    expect(Config).toMatchObject({
      Image: image,
      Entrypoint: ["/bin/busybox"],
      Cmd: ["sleep", "600"],
      User: "0:0",
      WorkingDir: "/bin",
      Hostname: "inside",
      StopSignal: "SIGINT",
      StopTimeout: 7,
      Labels: { [SANDBOX_LABEL]: sandbox.home.id },
      Volumes: { "/data": {}, "/anonymous": {} },
      Healthcheck: { Test: ["CMD", "true"], Interval: 60e9, Timeout: 5e9, StartPeriod: 10e9, Retries: 3 },
    });
    expect(Config.Env).toEqual(expect.arrayContaining(["A=1", "B=two words"]));
    expect(HostConfig).toMatchObject({
      PortBindings: {
        "80/tcp": [{ HostIp: "127.0.0.1", HostPort: "18080" }],
        "53/udp": [{ HostIp: "127.0.0.1", HostPort: "18053" }],
      },
      ExtraHosts: ["host.docker.internal:host-gateway"],
      Dns: ["192.0.2.53"],
      Binds: [`${folder}:/data:ro`],
      Tmpfs: { "/scratch": "size=1m" },
      ReadonlyRootfs: true,
      CapAdd: ["CAP_NET_ADMIN"],
      CapDrop: ["CAP_CHOWN"],
      SecurityOpt: ["no-new-privileges"],
      GroupAdd: ["27"],
      Init: true,
      RestartPolicy: { Name: "unless-stopped" },
      LogConfig: { Type: "json-file", Config: { "max-size": "1m" } },
      ShmSize: 32 * 1024 * 1024,
      NanoCpus: 500_000_000,
      NetworkMode: "bridge",
    });
    expect(made.state["networkDatas"]).toEqual([expect.objectContaining({ networkName: "bridge" })]);
    const found = await refreshed(made);
    expectSame(found, made);
    expect((await plugin.diff(found, inputs)).diffs).toEqual([]);
    await plugin.delete(made);
  });

  test("needs only an image, and is read back without a difference", async () => {
    const made = await plugin.create(CONTAINER, { image, labels: labels() }, { name: "thing" });
    expect(made.state["name"]).toMatch(/^thing-[0-9a-f]{7}$/);
    expect((await plugin.diff(await refreshed(made), { image, labels: labels() })).diffs).toEqual([]);
    await plugin.delete(made);
  });

  test("is in the networks it names, under its aliases and address, and not in the default one", async () => {
    const network = await plugin.create(NETWORK, {
      name: name(),
      labels: labels(),
      ipamConfigs: [{ subnet: "198.51.100.32/28" }],
    });
    const inputs = {
      ...container(),
      networksAdvanced: [{ name: network.state["name"], aliases: ["backend"], ipv4Address: "198.51.100.40" }],
    };
    const made = await plugin.create(CONTAINER, inputs);
    const { Networks } = (await inspect(made)).NetworkSettings;
    expect(Object.keys(Networks)).toEqual([network.state["name"]]);
    expect(Networks[network.state["name"] as string]).toMatchObject({
      IPAddress: "198.51.100.40",
      Aliases: expect.arrayContaining(["backend"]) as string[],
    });
    expect((await plugin.diff(await refreshed(made), inputs)).diffs).toEqual([]);
    await plugin.delete(made);
    await plugin.delete(network);
  });

  test("keeps a secret in its environment secret", async () => {
    const made = await plugin.create(CONTAINER, { ...container(), envs: new Secret(["TOKEN=abc"]) });
    expect(made.state["envs"]).toEqual(new Secret(["TOKEN=abc"]));
    await plugin.delete(made);
  });

  test("promises nothing in a preview that the engine decides", async () => {
    const planned = await plugin.create(CONTAINER, { image }, { preview: true });
    expect(planned.state).toMatchObject({ image, hostname: UNKNOWN, networkDatas: UNKNOWN, restart: "no" });
  });

  test.each<[string, Inputs, Record<string, unknown>]>([
    ["restart", { restart: "always" }, { RestartPolicy: { Name: "always", MaximumRetryCount: 0 } }],
    ["memory", { memory: 64, memorySwap: 64 }, { Memory: 64 * 1024 * 1024, MemorySwap: 64 * 1024 * 1024 }],
    ["cpuShares", { cpuShares: 512 }, { CpuShares: 512 }],
    ["cpuSet", { cpuSet: "0" }, { CpusetCpus: "0" }],
  ])("changes %s in place", async (property, change, options) => {
    const inputs = container();
    const made = await plugin.create(CONTAINER, inputs);
    const wanted = { ...inputs, ...change };
    const diff = await plugin.diff(made, wanted);
    expect(diff.diffs).toContain(property);
    expect(diff.replaces).toEqual([]);
    const updated = await plugin.update(made, wanted);
    expect((await inspect(made)).HostConfig).toMatchObject(options);
    expect((await plugin.diff(await refreshed(updated), wanted)).diffs).toEqual([]);
    await plugin.delete(made);
  });

  test.each<[string, Inputs]>([
    ["healthcheck", { healthcheck }],
    ["init", { init: true }],
    ["tmpfs", { tmpfs: { "/scratch": "" } }],
    ["rm", { rm: true }],
  ])("shows a change of %s as an update and does not apply it", async (property, change) => {
    const inputs = container();
    const made = await plugin.create(CONTAINER, { ...inputs, healthcheck: { tests: ["CMD", "false"] }, init: false });
    const wanted = { ...inputs, healthcheck: { tests: ["CMD", "false"] }, init: false, ...change };
    expect(await plugin.diff(made, wanted)).toMatchObject({ diffs: [property], replaces: [] });
    const updated = await plugin.update(made, wanted);
    expect((await plugin.diff(updated, wanted)).diffs).toEqual([]);
    expect((await plugin.diff(await refreshed(updated), wanted)).diffs).toEqual([property]);
    await plugin.delete(made);
  });

  test("changes in place what only matters later", async () => {
    const inputs = container();
    const made = await plugin.create(CONTAINER, inputs);
    for (const change of [
      { wait: true },
      { waitTimeout: 5 },
      { start: false },
      { mustRun: false },
      { removeVolumes: false },
      { destroyGraceSeconds: 5 },
    ]) {
      expect(await plugin.diff(made, { ...inputs, ...change })).toMatchObject({
        diffs: Object.keys(change),
        replaces: [],
      });
    }
    await plugin.delete(made);
  });

  test("is replaced by every other change, the old one deleted first even under another name", async () => {
    const inputs = { image, labels: labels() };
    const made = await plugin.create(CONTAINER, inputs);
    for (const [property, value] of Object.entries({
      name: "other",
      image: "other",
      command: ["other"],
      entrypoints: ["/other"],
      envs: ["A=2"],
      user: "1",
      workingDir: "/",
      hostname: "other",
      labels: [{ label: "other", value: "1" }],
      stopSignal: "SIGINT",
      stopTimeout: 1,
      ports: [{ internal: 1 }],
      networksAdvanced: [{ name: "other" }],
      networkMode: "host",
      hosts: [{ host: "other", ip: "192.0.2.1" }],
      dns: ["192.0.2.53"],
      volumes: [{ containerPath: "/other" }],
      readOnly: true,
      capabilities: { drops: ["ALL"] },
      securityOpts: ["no-new-privileges"],
      groupAdds: ["1"],
      privileged: true,
      shmSize: 1,
      logDriver: "none",
      logOpts: { "max-size": "1m" },
    })) {
      expect(await plugin.diff(made, { ...inputs, [property]: value }), property).toMatchObject({
        replaces: [property],
        deleteBeforeReplace: true,
      });
    }
    // A replacement that the user forces is not a difference, so it does not decide the order.
    expect(await plugin.diff(made, inputs)).toMatchObject({ diffs: [], deleteBeforeReplace: false });
    await plugin.delete(made);
  });

  test("has the problems of the official plugin: these are read back differently", async () => {
    const inputs = {
      ...container(),
      healthcheck: { ...healthcheck, interval: "60s" },
      memory: 64,
      ports: [
        { internal: 81, external: 18083, ip: "127.0.0.1" },
        { internal: 80, external: 18082, ip: "127.0.0.1" },
      ],
    };
    const found = await refreshed(await plugin.create(CONTAINER, inputs));
    expect((await plugin.diff(found, inputs)).diffs).toEqual(["healthcheck", "memorySwap"]);
    expect(found.state).toMatchObject({ memorySwap: 128, healthcheck });
    await plugin.delete(found);
  });

  test("is created when it is healthy, if it waits for that", async () => {
    const made = await plugin.create(CONTAINER, {
      ...container(),
      command: ["sh", "-c", "sleep 1; touch /ready; sleep 600"],
      healthcheck: { tests: ["CMD", "cat", "/ready"], interval: "50ms", retries: 1 },
      wait: true,
      waitTimeout: 200,
    });
    expect((await inspect(made)).State.Health?.Status).toBe("healthy");
    await plugin.delete(made);
  });

  describe("that is not healthy in time", () => {
    const sick = () => ({
      ...container(),
      healthcheck: { tests: ["CMD", "false"], interval: "50ms", retries: 1 },
      wait: true,
      waitTimeout: 5,
    });

    /** Fails to create it, and returns what is in the state then. */
    async function fail(inputs: Inputs): Promise<Made> {
      const error: unknown = await plugin.create(CONTAINER, inputs).catch((caught: unknown) => caught);
      const kept = plugin.initErrorOf(error);
      expect(kept?.reasons).toEqual([expect.stringContaining("* container failed to be in healthy state\n")]);
      return {
        type: CONTAINER,
        urn: `urn:pulumi:test::test::${CONTAINER}::thing`,
        id: kept?.id ?? "",
        inputs: await plugin.check(CONTAINER, inputs),
        state: kept?.state ?? {},
      };
    }

    test("stays, also in the state, with an error, and is replaced by the next update", async () => {
      const inputs = sick();
      const made = await fail(inputs);
      expect((await inspect(made)).State.Running).toBe(true);
      // What the engine has filled in is not in the state.
      expect(await plugin.diff(made, inputs)).toMatchObject({
        detailed: { entrypoints: "ADD_REPLACE", networkDatas: "ADD" },
        deleteBeforeReplace: true,
      });
      await plugin.delete(made);
    });

    test("is taken as it is by the next update if the program sets command and entry point", async () => {
      const inputs = { ...sick(), entrypoints: ["/bin/busybox"] };
      const made = await fail(inputs);
      expect(await plugin.diff(made, inputs)).toMatchObject({ detailed: { networkDatas: "ADD" }, replaces: [] });
      await plugin.delete(made);
    });

    test("is taken as it is after a refresh", async () => {
      const inputs = sick();
      const found = await refreshed(await fail(inputs));
      expect((await plugin.diff(found, inputs)).diffs).toEqual([]);
      await plugin.delete(found);
    });
  });

  test("may end immediately without a failure, and then does not run in the state", async () => {
    const made = await plugin.create(CONTAINER, { ...container(), command: ["false"] });
    await engine.getContainer(made.id).wait();
    const found = await refreshed(made);
    expect(found.state).toMatchObject({ exitCode: 1, mustRun: false });
    await plugin.delete(found);
  });

  test("leaves nothing in the state if its name is taken", async () => {
    const inputs = container();
    const made = await plugin.create(CONTAINER, inputs);
    const error: unknown = await plugin.create(CONTAINER, inputs).catch((caught: unknown) => caught);
    expect(String(error)).toContain("Unable to create container");
    expect(plugin.initErrorOf(error)).toBeUndefined();
    await plugin.delete(made);
  });

  test("shows after a refresh that it was stopped, and is started by the next update", async () => {
    const inputs = container();
    const made = await plugin.create(CONTAINER, inputs);
    await kill(made);
    const found = await refreshed(made);
    expect(found.state).toMatchObject({ mustRun: false, exitCode: 137 });
    expect(await plugin.diff(found, inputs)).toMatchObject({ detailed: { mustRun: "UPDATE" }, replaces: [] });
    const started = await plugin.update(found, inputs);
    expect((await inspect(made)).State.Running).toBe(true);
    expect((await plugin.diff(await refreshed(started), inputs)).diffs).toEqual([]);
    await plugin.delete(made);
  });

  test("is replaced if it was stopped, because its published ports seem to be missing", async () => {
    const inputs = { ...container(), ports: [{ internal: 80, external: 18081, ip: "127.0.0.1" }] };
    const made = await plugin.create(CONTAINER, inputs);
    await kill(made);
    const found = await refreshed(made);
    expect(found.state).toMatchObject({ mustRun: false, ports: [] });
    expect(found.inputs).toMatchObject({ mustRun: false, ports: [] });
    const replaced = { detailed: { mustRun: "UPDATE", ports: "ADD_REPLACE" }, deleteBeforeReplace: true };
    expect(await plugin.diff(found, inputs)).toMatchObject(replaced);
    // A second refresh does not find them again.
    expect(await plugin.diff(await refreshed(found), inputs)).toMatchObject(replaced);
    await plugin.delete(made);
  });

  async function kill(made: Made): Promise<void> {
    await engine.getContainer(made.id).kill();
    await engine.getContainer(made.id).wait();
  }

  test("is in the state as planned if its update fails", async () => {
    const inputs = container();
    const made = await plugin.create(CONTAINER, inputs);
    await engine.getContainer(made.id).remove({ force: true });
    const wanted = { ...inputs, restart: "always" };
    const error: unknown = await plugin.update(made, wanted).catch((caught: unknown) => caught);
    const kept = plugin.initErrorOf(error);
    expect(kept?.reasons).toEqual([
      `updating ${made.urn}: 1 error occurred:\n\t* Unable to update a container: Error response from daemon: ` +
        `No such container: ${made.id}\n\n`,
    ]);
    expect(kept?.state).toMatchObject({ restart: "always" });
    expect((await plugin.diff({ ...made, state: kept?.state ?? {} }, wanted)).detailed).toEqual({});
  });

  test("shows outside changes and an outside delete after a refresh", async () => {
    const inputs = container();
    const made = await plugin.create(CONTAINER, inputs);
    await engine.getContainer(made.id).update({ RestartPolicy: { Name: "always" } });
    expect((await plugin.diff(await refreshed(made), inputs)).detailed).toEqual({ restart: "UPDATE" });
    await engine.getContainer(made.id).remove({ force: true });
    expect(await plugin.read(made)).toBeUndefined();
    await plugin.delete(made);
  });

  test("gets time to end in a delete only with a grace period", async () => {
    const writing = { volumes: [{ hostPath: folder, containerPath: "/data" }], stopTimeout: 30 };
    const farewell = (word: string) => [
      "sh",
      "-c",
      `trap 'sleep 2; touch /data/${word}; exit' TERM; touch /data/up-${word}; while true; do sleep 0.1; done`,
    ];
    const up = (word: string) =>
      expect.poll(() => readFile(path.join(folder, `up-${word}`), "utf8").catch(() => "no")).toBe("");
    const polite = await plugin.create(CONTAINER, {
      ...container(),
      ...writing,
      command: farewell("polite"),
      destroyGraceSeconds: 30,
    });
    await up("polite");
    await plugin.delete(polite);
    expect(await readFile(path.join(folder, "polite"), "utf8")).toBe("");

    const rude = await plugin.create(CONTAINER, { ...container(), ...writing, command: farewell("rude") });
    await up("rude");
    await plugin.delete(rude);
    await expect(readFile(path.join(folder, "rude"))).rejects.toThrow("ENOENT");
  });

  test("is deleted with its anonymous volumes by default", async () => {
    const volumeOf = async (made: Made) => (await inspect(made)).Mounts[0]?.Name ?? "none";
    const inputs = { volumes: [{ containerPath: "/anonymous" }] };
    const cleaned = await plugin.create(CONTAINER, { ...container(), ...inputs });
    const gone = engine.getVolume(await volumeOf(cleaned));
    await plugin.delete(cleaned);
    await expect(gone.inspect()).rejects.toThrow("no such volume");

    const left = await plugin.create(CONTAINER, { ...container(), ...inputs, removeVolumes: false });
    const kept = engine.getVolume(await volumeOf(left));
    await plugin.delete(left);
    await kept.remove();
  });

  unlessOriginal("refuses what the stand-in does not have, what nobody has, and a duration that is none", async () => {
    const inputs = container();
    await expect(plugin.check(CONTAINER, { ...inputs, uploads: [] })).rejects.toThrow("uploads is not implemented");
    await expect(plugin.check(CONTAINER, { ...inputs, colour: "red" })).rejects.toThrow("colour is unknown");
    await expect(
      plugin.create(CONTAINER, { ...inputs, healthcheck: { tests: ["CMD", "true"], interval: "1 minute" } }),
    ).rejects.toThrow("healthcheck.interval: 1 minute is not a duration, it should be like 30s, 1m30s or 500ms.");
  });

  test("fails with the image's name if the image does not exist", async () => {
    const inputs = container();
    await expect(plugin.create(CONTAINER, { ...inputs, image: `${repository()}:missing` })).rejects.toThrow(
      /Unable to create container with image .*:missing: unable to pull image/,
    );
  });
});
