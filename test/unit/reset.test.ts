import { expect, it } from "vitest";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import { reset } from "../../operations/reset.ts";
import { State } from "../../operations/state.ts";

it("a stack whose data is protected is not reset", async () => {
  const database = { type: TYPES.database, name: RESOURCES.database, id: "d", inputs: {}, outputs: {}, protect: true };
  await expect(reset(new State("prod", [database]), true)).rejects.toThrow(
    "stack prod: its data is protected, it should not be. If all of it may go: npx pulumi config set --stack prod protectData false, " +
      "then: npx pulumi up --stack prod",
  );
});

it("a stack that was never deployed is not reset", async () => {
  await expect(reset(new State("dev", []), true)).rejects.toThrow(
    "stack dev: has no convex-database, it should be deployed.",
  );
});
