import { describe, expect, it } from "vitest";

import { mintAdminKey } from "../../contract/admin-key.ts";
import { RESOURCES, TYPES } from "../../contract/names.ts";
import { valueIn } from "../../contract/scripts.ts";
import { compareConvex } from "../../operations/findings/convex/backend.ts";
import { expected } from "../../operations/findings/expected.ts";
import { State } from "../../operations/state.ts";
import { insideOf, stateOf } from "./findings.ts";

const SECRET = "0123456789abcdef".repeat(4);
const NAME = "convex-self-hosted";

function deployed(accepted: string): State {
  const ports = [3210, 3211].map((port) => ({ internal: port, external: port }));
  return stateOf(
    {
      type: TYPES.container,
      name: RESOURCES.backend,
      inputs: {
        envs: [`INSTANCE_NAME=${NAME}`, `INSTANCE_SECRET=${SECRET}`],
        ports,
      },
    },
    { type: TYPES.command, name: RESOURCES.acceptance, outputs: { stdout: `${accepted}\n` } },
    { type: TYPES.command, name: RESOURCES.functionEnvironment, inputs: { stdin: 'variables={"A":"a"}\n' } },
  );
}

const keys = (state: State) => ["key", "read_only_key"].map((name) => valueIn(expected(state)["backend"] ?? "", name));

describe("the keys for the backend's API", () => {
  it("are both made by the stack if the backend accepted its admin key", () => {
    const minted = mintAdminKey(NAME, SECRET);
    expect(keys(deployed(minted))).toEqual([minted, mintAdminKey(NAME, SECRET, { readOnly: true })]);
  });

  it("are only that of the backend's own tool if it refused the stack's, and nothing is found", () => {
    const state = deployed(`${NAME}|its own`);
    expect(keys(state)).toEqual([`${NAME}|its own`, ""]);
    const facts = {
      "backend.version": "unknown",
      "backend.instance_name": NAME,
      "backend.site": "",
      "backend.dashboard": "",
      "backend.admin_key": '200\n{"isReadOnly":false}\n',
      "functions.environment": '{"A":"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"}',
      "backend.instance_secret": "a8ae6e6ee929abea3afcfc5258c8ccd6f85273e0d4626d26c7279f3250f77c8e",
    };
    const inside = insideOf(facts);
    expect(compareConvex(state, inside)).toEqual([]);
    // As earlier releases wrote them, if an upgrade ended before it set the variables.
    const earlier = state.resources.map((resource) =>
      resource.name === "convex-function-environment"
        ? { ...resource, inputs: { stdin: '{"variables":{}}' } }
        : resource,
    );
    expect(compareConvex(new State("dev", earlier), inside)).toEqual([]);
  });
});
