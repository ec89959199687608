import { afterEach, expect, it, vi } from "vitest";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import { reset } from "../../operations/reset.ts";
import { Destination } from "../../operations/move-in/destination.ts";
import { readSetting } from "../../operations/setting.ts";
import { State } from "../../operations/state.ts";

vi.mock(import("../../operations/setting.ts"), () => ({ readSetting: vi.fn<() => Promise<string>>() }));
const database = { type: TYPES.database, name: RESOURCES.database, id: "d", inputs: {}, outputs: {} };

afterEach(() => {
  vi.restoreAllMocks();
});

it.each([
  ["in the state", true, "false"],
  ["by the next up", false, "true"],
])("a stack whose data is protected %s is not reset", async (_, protect, setting) => {
  vi.mocked(readSetting).mockResolvedValue(setting);
  await expect(reset(new State("prod", [{ ...database, protect }]), true)).rejects.toThrow(
    "stack prod: its data is protected, it should not be. If all of it may go: npx pulumi config set --stack prod protectData false, " +
      "then: npx pulumi up --stack prod",
  );
});

it("a stack that was never deployed is not reset", async () => {
  await expect(reset(new State("dev", []), true)).rejects.toThrow(
    "stack dev: has no convex-database, it should be deployed.",
  );
});

it.each([
  ["convex-20261127T090000Z", /^To go back to .*: npm run restore -- --stack dev --to convex-20261127T090000Z --yes$/m],
  ["", /^(?!.*To go back)/s],
])("a reset shows the command that restores the point before it: '%s'", async (point, shown) => {
  vi.mocked(readSetting).mockResolvedValue("false");
  const backend = { type: TYPES.container, name: RESOURCES.backend, id: "b", outputs: {} };
  const state = new State("dev", [database, { ...backend, inputs: { envs: ["INSTANCE_NAME=swarm-dev"] } }]);
  vi.spyOn(Destination, "open").mockResolvedValue({
    look: () =>
      Promise.resolve({ version: 17, free: 1e11, ownDocuments: 7, swapping: undefined, restoring: undefined }),
    receiveNothing: () => Promise.resolve(),
    swap: () => Promise.resolve(point),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  } as unknown as Destination);
  const write = vi.spyOn(process.stdout, "write").mockReturnValue(true);
  expect(await reset(state, true)).toBe(0);
  const text = write.mock.calls.map(([chunk]) => String(chunk)).join("");
  expect(text).toMatch(/^Gone: {3}7 documents and stored files, /);
  expect(text).toMatch(shown);
});
