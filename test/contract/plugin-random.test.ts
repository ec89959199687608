import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reveal, Secret, UNKNOWN } from "../../sandbox/plugins/framework/values.ts";
import { PluginClient } from "./plugin-client.ts";
import type { Inputs, Made } from "./plugin-client.ts";
import { standInOnly } from "./plugin-subject.ts";

const PASSWORD = "random:index/randomPassword:RandomPassword";

describe("RandomPassword", () => {
  let plugin: PluginClient;

  beforeAll(async () => {
    plugin = await PluginClient.start("random");
    await plugin.configure();
  });
  afterAll(() => plugin[Symbol.asyncDispose]());

  test("makes a secret of the requested length and kinds of characters", async () => {
    const hex = { length: 64, upper: false, lower: false, special: true, overrideSpecial: "abcdef" };
    expect(resultOf(await plugin.create(PASSWORD, hex))).toMatch(/^[0-9a-f]{64}$/);
    expect(resultOf(await plugin.create(PASSWORD, { length: 200, special: false }))).toMatch(/^[0-9a-zA-Z]{200}$/);
    const minima = { length: 4, minLower: 1, minUpper: 1, minNumeric: 1, minSpecial: 1 };
    for (const pattern of [/[a-z]/, /[A-Z]/, /[0-9]/, /[!@#$%&*()\-_=+[\]{}<>:?]/]) {
      expect(resultOf(await plugin.create(PASSWORD, minima))).toMatch(pattern);
    }
  });

  test("keeps defaults in the state and not in the inputs, under the id none", async () => {
    const made = await plugin.create(PASSWORD, { length: 8, lower: false });
    expect(made.id).toBe("none");
    expect(made.inputs).toEqual({ length: 8, lower: false });
    expect(made.state).toMatchObject({
      result: expect.any(Secret) as Secret,
      length: 8,
      lower: false,
      upper: true,
      numeric: true,
      special: true,
      minLower: 0,
      minUpper: 0,
      minNumeric: 0,
      minSpecial: 0,
    });
  });

  test("makes nothing in a preview", async () => {
    const planned = await plugin.create(PASSWORD, { length: 8 }, { preview: true });
    expect(planned.state["result"]).toBe(UNKNOWN);
    expect(planned.id).toBe("");
  });

  test.each<[string, Inputs]>([
    ["length", { length: 9 }],
    ["special", { length: 8, special: false }],
    ["upper", { length: 8, upper: false }],
    ["lower", { length: 8, lower: false }],
    ["numeric", { length: 8, numeric: false }],
    ["minNumeric", { length: 8, minNumeric: 2 }],
    ["overrideSpecial", { length: 8, overrideSpecial: "!" }],
    ["keepers", { length: 8, keepers: { reason: "leak" } }],
  ])("is replaced, the new one first, when %s changes", async (property, inputs) => {
    const diff = await plugin.diff(await plugin.create(PASSWORD, { length: 8 }), inputs);
    expect(diff).toMatchObject({ detailed: {}, deleteBeforeReplace: false });
    // The original has an older name for one of them too.
    expect(diff.replaces.filter((name) => name !== "number")).toEqual([property]);
    expect(diff.diffs).toEqual(diff.replaces);
  });

  test("is unchanged by a second run and by a refresh", async () => {
    const made = await plugin.create(PASSWORD, { length: 8 });
    expect((await plugin.diff(made, { length: 8 })).detailed).toEqual({});
    expect(await plugin.read(made)).toEqual(made);
  });

  test("is deleted without anything to remove", async () => {
    await expect(plugin.delete(await plugin.create(PASSWORD, { length: 8 }))).resolves.toBeUndefined();
  });

  test.each<[string, Inputs, RegExp]>([
    ["no length", {}, /length/],
    ["a length of nothing", { length: 0 }, /length.* at least 1\b/],
    ["a length below the minima", { length: 1, minUpper: 2 }, /length.* sum of/],
    [
      "no kind of character",
      { length: 8, upper: false, lower: false, numeric: false, special: false },
      /special.*numeric.* must be/,
    ],
  ])("refuses %s", async (_what, inputs, reason) => {
    await expect(plugin.check(PASSWORD, inputs)).rejects.toThrow(reason);
  });

  standInOnly("random", "the official plugin accepts these")("refuses unknown inputs", async () => {
    await expect(plugin.check(PASSWORD, { length: "8" })).rejects.toThrow("length is a string, it must be an integer");
    await expect(plugin.check(PASSWORD, { length: 8, colour: "red" })).rejects.toThrow("colour is unknown");
    await expect(plugin.check(PASSWORD, { length: 8, number: true })).rejects.toThrow("number is not implemented");
  });
});

function resultOf(made: Made): unknown {
  expect(made.state["result"]).toBeInstanceOf(Secret);
  return reveal(made.state["result"] ?? null);
}

describe("RandomUuid", () => {
  const UUID = "random:index/randomUuid:RandomUuid";

  test("makes an identifier, and another one for other keepers", async () => {
    await using plugin = await PluginClient.start("random");
    await plugin.configure();
    const made = await plugin.create(UUID, { keepers: { database: "droplet" } });
    expect(made.state["result"]).toMatch(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/);
    expect(made.id).toBe(made.state["result"]);
    expect(await plugin.diff(made, { keepers: { database: "managed" } })).toMatchObject({ replaces: ["keepers"] });
  });
});
