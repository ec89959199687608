import { readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import type { PluginInfo } from "@pulumi/pulumi/proto/plugin_pb.js";
import type { ProviderHandshakeResponse } from "@pulumi/pulumi/proto/provider_pb.js";
import emptyMessages from "google-protobuf/google/protobuf/empty_pb.js";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { reveal, Secret, UNKNOWN } from "../../sandbox/plugins/framework/values.ts";
import { PluginClient } from "./plugin-client.ts";
import type { Inputs } from "./plugin-client.ts";

const THING = "test:index/thing:Thing";
const MEDDLE = "test:index/meddle:meddle";
const FIXTURE = path.resolve("test/contract/plugin-framework-fixture.ts");

let plugin: PluginClient;

beforeAll(async () => {
  plugin = await start();
});
afterAll(() => plugin[Symbol.asyncDispose]());
beforeEach(async () => {
  // Forgets all things.
  await plugin.configure();
});

async function start(): Promise<PluginClient> {
  const env = { FIXTURE_TOKEN: "", FIXTURE_ACCESS_TOKEN: "from-environment" };
  const started = await PluginClient.run("random", [process.execPath, FIXTURE], { env, notes: true });
  await started.configure();
  return started;
}

describe("a plugin process", () => {
  test("outlives a killed engine, finishes its work, and ends at its next check for the engine", async () => {
    await using own = await start();
    const slow = own.create(THING, { name: "slow", size: 1, label: "slow" });
    slow.catch(() => undefined);
    await expect.poll(() => own.logs.length).toBe(1);
    own.killEngine();
    // It has checked for the engine by then, and its work takes a second.
    await sleep(500);
    expect(own.isAlive()).toBe(true);
    await expect.poll(() => own.isAlive()).toBe(false);
  });

  test("runs as long as the engine, and ends when it is interrupted", async () => {
    await using own = await start();
    await sleep(500);
    expect(own.isAlive()).toBe(true);
    process.kill(own.pid, "SIGINT");
    await expect.poll(() => own.isAlive()).toBe(false);
  });

  test("ends a wait if its caller is gone", async () => {
    await using own = await start();
    const waiting = own.create(THING, { size: 1, label: "endless" });
    waiting.catch(() => undefined);
    await expect.poll(() => own.logs.length).toBe(1);
    own.killEngine();
    await expect.poll(() => own.isAlive()).toBe(false);
  });

  test("accepts secrets, outputs, resources and auto-naming in the handshake", async () => {
    const handshake = promisify(plugin.grpc.handshake.bind(plugin.grpc)) as unknown as (
      request: object,
    ) => Promise<ProviderHandshakeResponse>;
    expect((await handshake(new messages.ProviderHandshakeRequest())).toObject()).toEqual({
      acceptSecrets: true,
      acceptResources: true,
      acceptOutputs: true,
      supportsAutonamingConfiguration: true,
      acceptsByteString: false,
    });
  });

  test("has the version of the npm package", async () => {
    const getPluginInfo = promisify(plugin.grpc.getPluginInfo.bind(plugin.grpc)) as unknown as (
      request: object,
    ) => Promise<PluginInfo>;
    const sdk = JSON.parse(readFileSync("node_modules/@pulumi/random/package.json", "utf8")) as { version: string };
    expect((await getPluginInfo(new emptyMessages.Empty())).getVersion()).toBe(sdk.version);
  });
});

describe("provider settings", () => {
  test("take defaults from the first environment variable that is not empty and from the table, unrecorded", async () => {
    expect(await plugin.checkConfig({ version: "1.0.0" })).toEqual({ version: "1.0.0" });
    expect((await plugin.create(THING, { size: 1 })).state["settings"]).toEqual({
      token: "from-environment",
      retries: 4,
    });
    expect(await plugin.checkConfig({ token: "mine", retries: "5" })).toEqual({
      token: new Secret("mine"),
      retries: "5",
    });
  });

  test("arrive as JSON texts and reach the plugin with their types", async () => {
    await plugin.configure({ retries: "7", hosts: '["a","b"]' });
    const made = await plugin.create(THING, { size: 1 });
    expect(made.state["settings"]).toEqual({ token: "from-environment", retries: 7, hosts: ["a", "b"] });
  });

  test.each<[string, Inputs]>([
    ["hosts is not JSON text, it must be", { hosts: "[" }],
    ["hosts[0] is a number, it must be a string", { hosts: "[1]" }],
    ["retries is a boolean, it must be an integer", { retries: "true" }],
    ["endpoint is unknown, it must be one of: hosts, retries, token", { endpoint: "x" }],
  ])("are refused with: %s", async (reason, settings) => {
    await expect(plugin.checkConfig(settings)).rejects.toThrow(reason);
  });
});

describe("names", () => {
  test("are the logical name and seven digits from the seed", async () => {
    const inputs = await plugin.check(THING, { size: 1 }, { name: "Thing", seed: "a" });
    expect(inputs["name"]).toMatch(/^thing-[0-9a-f]{7}$/);
    expect(inputs["__defaults"]).toEqual(["name"]);
    expect(await plugin.check(THING, { size: 1 }, { name: "Thing", seed: "a" })).toEqual(inputs);
    const other = await plugin.check(THING, { size: 1 }, { name: "Thing", seed: "b" });
    expect(other["name"]).not.toBe(inputs["name"]);
  });

  test("have at most the length that the cloud allows", async () => {
    const { name } = await plugin.check(THING, { size: 1 }, { name: "a-thing-with-a-long-name" });
    expect(name).toMatch(/^a-thing--[0-9a-f]{7}$/);
  });

  test("never change", async () => {
    const olds = await plugin.check(THING, { size: 1 }, { seed: "a" });
    expect(await plugin.check(THING, { size: 1 }, { seed: "b", olds })).toEqual(olds);
  });

  test("are the engine's if the user configured auto-naming", async () => {
    const propose = { autonaming: { mode: "PROPOSE", proposed: "dev-thing" } } as const;
    expect(await plugin.check(THING, { size: 1 }, propose)).toMatchObject({ name: "dev-thing" });
    const disable = { autonaming: { mode: "DISABLE" } } as const;
    expect(await plugin.check(THING, { size: 1 }, disable)).not.toHaveProperty("name");
  });

  test("from the program make every replacement delete first", async () => {
    const auto = await plugin.create(THING, { size: 1 });
    expect(await plugin.diff(auto, { size: 2 })).toMatchObject({ replaces: ["size"], deleteBeforeReplace: false });
    const named = await plugin.create(THING, { size: 1, name: "mine" });
    expect(await plugin.diff(named, { size: 2, name: "mine" })).toMatchObject({ deleteBeforeReplace: true });
    expect(await plugin.diff(named, { size: 1, name: "mine", label: "x" })).toMatchObject({
      deleteBeforeReplace: false,
    });
  });
});

describe("a preview", () => {
  test("of a create knows the inputs and nothing else", async () => {
    const planned = await plugin.create(THING, { name: "a", size: 1, token: "t" }, { preview: true });
    expect(planned.id).toBe("");
    expect(planned.state).toEqual({
      name: "a",
      size: 1,
      token: new Secret("t"),
      region: UNKNOWN,
      address: UNKNOWN,
      key: new Secret(UNKNOWN),
      revision: UNKNOWN,
      settings: UNKNOWN,
    });
    expect(await plugin.invoke(MEDDLE, { name: "a", remove: true })).toEqual({ left: 0 });
  });

  test("keeps what is not known yet unknown", async () => {
    const planned = await plugin.create(
      THING,
      { name: UNKNOWN, size: UNKNOWN, tags: ["a", UNKNOWN] },
      { preview: true },
    );
    expect(planned.state).toMatchObject({ name: UNKNOWN, size: UNKNOWN, tags: ["a", UNKNOWN] });
  });

  test("of an update keeps the outputs that an update does not change", async () => {
    const made = await plugin.create(THING, { name: "a", size: 1, label: "x" });
    const planned = await plugin.update(made, { name: "a", size: 1 }, { preview: true });
    expect(planned.state).toMatchObject({ address: "10.0.0.1", region: "ams3", revision: UNKNOWN });
    expect(planned.state).not.toHaveProperty("label");
    expect(planned.state["key"]).toEqual(new Secret("hush"));
  });
});

describe("operations", () => {
  test("keep secret what the table or the program marks", async () => {
    const made = await plugin.create(THING, { name: "a", size: 1, token: "t", label: new Secret("l"), tags: ["x"] });
    expect(made.state).toMatchObject({
      token: new Secret("t"),
      label: new Secret("l"),
      key: new Secret("hush"),
      tags: ["x"],
      address: "10.0.0.1",
    });
    const updated = await plugin.update(made, { name: "a", size: 1, tags: ["x", new Secret("y")] });
    expect(updated.state["tags"]).toEqual(new Secret(["x", "y"]));
  });

  test("pass the changes to an update", async () => {
    const made = await plugin.create(THING, { name: "a", size: 1 });
    const updated = await plugin.update(made, { name: "a", size: 1, label: "x", tags: ["t"] });
    expect(updated.state["address"]).toBe("label,tags");
  });

  test("keep the outputs that an update does not return", async () => {
    const made = await plugin.create(THING, { name: "a", size: 1 });
    const { state } = await plugin.update(made, { name: "a", size: 1, label: "x" });
    expect(state).toMatchObject({ key: new Secret("hush"), region: "ams3", revision: 2, label: "x" });
  });

  test("fail with the plain message", async () => {
    const failing = plugin.create(THING, { size: 1, label: "refused" });
    await expect(failing).rejects.toThrow("2 UNKNOWN: 1 error occurred:\n\t* the cloud said no\n\n");
    expect(plugin.initErrorOf(await failing.catch((error: unknown) => error))).toBeUndefined();
  });

  test("keep an existing resource in the state if they fail, with secrets marked", async () => {
    const error: unknown = await plugin
      .create(THING, { name: "a", size: 1, label: "unhealthy", token: "t" })
      .catch((reason: unknown) => reason);
    const reason = `creating urn:pulumi:test::test::${THING}::thing: 1 error occurred:\n\t* it is there but does not answer\n\n`;
    expect(error).toMatchObject({ details: reason });
    expect(plugin.initErrorOf(error)).toEqual({
      id: "a",
      reasons: [reason],
      state: {
        name: "a",
        size: 1,
        label: "unhealthy",
        token: new Secret("t"),
        region: "ams3",
        address: "10.0.0.1",
        key: new Secret("hush"),
        revision: 1,
        settings: { token: "from-environment", retries: 4 },
      },
    });
  });

  test("keep the planned state if an update fails, so the next run finds no change", async () => {
    const made = await plugin.create(THING, { name: "a", size: 1, label: "x" });
    const wanted = { name: "a", size: 1, label: "refused" };
    const error: unknown = await plugin.update(made, wanted).catch((reason: unknown) => reason);
    const kept = plugin.initErrorOf(error);
    expect(kept).toMatchObject({
      id: "a",
      reasons: [expect.stringMatching(/^updating urn:.*: 1 error occurred:\n\t\* the cloud said no\n\n$/) as string],
    });
    expect(kept?.state).toEqual({ ...made.state, label: "refused" });
    expect((await plugin.diff({ ...made, state: kept?.state ?? {} }, wanted)).detailed).toEqual({});
  });

  test("fail to delete and to read with the operation and the resource", async () => {
    const made = await plugin.create(THING, { name: "a", size: 1, label: "unreadable" });
    await expect(plugin.read(made)).rejects.toThrow(/refreshing urn:.*: 1 error occurred:\n\t\* the cloud is closed/);
    await plugin.delete(made);
    await expect(plugin.delete(made)).rejects.toThrow(/deleting urn:.*: 1 error occurred:\n\t\* the cloud does not/);
  });

  test("end after their timeout, if the type has one", async () => {
    await expect(plugin.create(THING, { size: 1, label: "endless" }, { timeoutSeconds: 1 })).rejects.toThrow(
      "context deadline exceeded",
    );
    const made = await plugin.create(THING, { name: "a", size: 1 });
    plugin.logs.length = 0;
    await plugin.update(made, { name: "a", size: 1, label: "x" }, { timeoutSeconds: 90 });
    expect(plugin.logs).toMatchObject([
      { severity: "warning", message: "Resource does not support customTimeouts, ignoring: update=1m30s" },
    ]);
  });

  test("continue when the user cancels, as in every bridged plugin", async () => {
    await using own = await start();
    const slow = own.create(THING, { name: "slow", size: 1, label: "slow" });
    await expect.poll(() => own.logs.length).toBe(1);
    await own.cancel();
    expect((await slow).id).toBe("slow");
    expect((await own.create(THING, { name: "later", size: 1 })).id).toBe("later");
  });

  test.each<[string, Inputs]>([
    [`${THING}: size is missing, it is required`, {}],
    [
      `${THING}: sise is unknown, it must be one of: label, name, ports, region, size, tags, token`,
      { size: 1, sise: 2 },
    ],
    [`${THING}: legacy is not implemented by the sandbox's stand-in plugin`, { size: 1, legacy: true }],
    ["size is a number, it must be an integer", { size: 1.5 }],
    ["tags is a string, it must be a set", { size: 1, tags: "a" }],
    ["tags[1] is a number, it must be a string", { size: 1, tags: ["a", 1] }],
    ["ports[0].internal is missing, it is required", { size: 1, ports: [{}] }],
    [
      "ports[0].extra is unknown, it must be one of: internal, protocol",
      { size: 1, ports: [{ internal: 1, extra: 2 }] },
    ],
    ["token is a number, it must be a string", { size: 1, token: new Secret(4711) }],
  ])("refuse inputs with: %s", async (reason, inputs) => {
    await expect(plugin.check(THING, inputs)).rejects.toThrow(reason);
    await expect(plugin.check(THING, inputs)).rejects.not.toThrow("4711");
  });

  test("refuse types and functions that the stand-in does not have, and name those that it has", async () => {
    await expect(plugin.check("test:index/other:Other", {})).rejects.toThrow(
      `test:index/other:Other: is not a resource type of the sandbox's stand-in plugin, which has: ${THING}.`,
    );
    await expect(plugin.invoke("test:index/other:other", {})).rejects.toThrow(
      `test:index/other:other: is not a function of the sandbox's stand-in plugin, which has: ${MEDDLE}.`,
    );
    await expect(plugin.invoke(MEDDLE, {})).rejects.toThrow(`${MEDDLE}: name is missing, it is required`);
  });
});

describe("a refresh", () => {
  const inputs = { name: "a", size: 1, label: "x" };

  test("changes nothing when nothing changed", async () => {
    const made = await plugin.create(THING, inputs);
    expect(await plugin.read(made)).toEqual(made);
  });

  test("puts live values into the state, and into the inputs that the program set", async () => {
    const made = await plugin.create(THING, inputs);
    await plugin.invoke(MEDDLE, { name: "a", label: "meddled" });
    const read = await plugin.read(made);
    expect(read?.inputs).toEqual({ ...made.inputs, label: "meddled" });
    expect(read?.state).toEqual({ ...made.state, label: "meddled", address: "10.0.0.9" });
    expect((await plugin.diff(read ?? made, inputs)).detailed).toEqual({ label: "UPDATE" });
  });

  test("finds additions to a property that the program does not set", async () => {
    const made = await plugin.create(THING, { name: "a", size: 1 });
    await plugin.invoke(MEDDLE, { name: "a", label: "meddled" });
    const read = await plugin.read(made);
    expect(read?.inputs).toEqual(made.inputs);
    expect((await plugin.diff(read ?? made, { name: "a", size: 1 })).detailed).toEqual({ label: "DELETE" });
  });

  test("keeps the length of lists, and no longer counts changed defaults as defaults", async () => {
    const ports = [{ internal: 1 }, { internal: 2 }];
    const made = await plugin.create(THING, { name: "a", size: 1, tags: ["one", "two"], ports });
    const live = [
      { internal: 1, protocol: "udp" },
      { internal: 2, protocol: "tcp" },
      { internal: 3, protocol: "tcp" },
    ];
    await plugin.invoke(MEDDLE, { name: "a", tags: ["one", "other", "three"], ports: live });
    const read = await plugin.read(made);
    expect(read?.state).toMatchObject({ tags: ["one", "other", "three"], ports: live });
    expect(read?.inputs).toMatchObject({
      tags: ["one", "other"],
      ports: [
        { internal: 1, protocol: "udp", __defaults: [] },
        { internal: 2, protocol: "tcp", __defaults: ["protocol"] },
      ],
    });
    await plugin.invoke(MEDDLE, { name: "a", tags: ["two"], ports: live.slice(0, 1) });
    expect((await plugin.read(made))?.inputs).toMatchObject({ tags: ["two"], ports: [{ internal: 1 }] });
  });

  test("keeps a secret input secret", async () => {
    const made = await plugin.create(THING, { ...inputs, label: new Secret("x") });
    await plugin.invoke(MEDDLE, { name: "a", label: "meddled" });
    const read = await plugin.read(made);
    expect(read?.inputs["label"]).toEqual(new Secret("meddled"));
    expect(read?.state["label"]).toEqual(new Secret("meddled"));
  });

  test("notices that the resource is gone", async () => {
    const made = await plugin.create(THING, inputs);
    await plugin.invoke(MEDDLE, { name: "a", remove: true });
    expect(await plugin.read(made)).toBeUndefined();
  });

  test("without old inputs, an import, makes inputs from the live values", async () => {
    const made = await plugin.create(THING, inputs);
    const imported = await plugin.read({ ...made, inputs: {}, state: {} });
    expect(reveal(imported?.inputs ?? {})).toEqual({ __defaults: [], label: "x" });
  });
});
