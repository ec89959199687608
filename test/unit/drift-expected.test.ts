import { describe, expect, it } from "vitest";

import { valueIn } from "../../contract/scripts.ts";
import { mintAdminKey } from "../../contract/admin-key.ts";
import { compareConvex } from "../../operations/findings/convex/backend.ts";
import { expected } from "../../operations/findings/expected.ts";
import { State } from "../../operations/state.ts";

const SECRET = "0123456789abcdef".repeat(4);
const NAME = "convex-self-hosted";

function deployed(accepted: string): State {
  const ports = [3210, 3211].map((port) => ({ internal: port, external: port }));
  const resource = (type: string, name: string, inputs: object, outputs: object = {}) => ({
    type,
    name,
    id: "1",
    inputs: inputs as Record<string, unknown>,
    outputs: outputs as Record<string, unknown>,
  });
  return new State("dev", [
    resource("docker:index/container:Container", "convex-backend", {
      envs: [`INSTANCE_NAME=${NAME}`, `INSTANCE_SECRET=${SECRET}`],
      ports,
    }),
    resource("command:remote:Command", "convex-acceptance", {}, { stdout: `${accepted}\n` }),
    resource("command:remote:Command", "convex-function-environment", { stdin: 'variables={"A":"a"}\n' }),
  ]);
}

const keys = (state: State) => ["key", "read_only_key"].map((name) => valueIn(expected(state)["backend"] ?? "", name));

describe("the keys that a backend is asked with", () => {
  it("are both of the stack's making where it has accepted the one", () => {
    const minted = mintAdminKey(NAME, SECRET);
    expect(keys(deployed(minted))).toEqual([minted, mintAdminKey(NAME, SECRET, { readOnly: true })]);
  });

  it("are that of its own tool alone where it has refused the stack's, and nothing is missed", () => {
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
    const inside = {
      differences: [],
      facts: new Map(Object.entries(facts).map(([name, text]) => [name, { exitCode: 0, text }])),
    };
    expect(compareConvex(state, inside)).toEqual([]);
    // As earlier releases gave them, where an upgrade ended before the variables' turn.
    const earlier = state.resources.map((resource) =>
      resource.name === "convex-function-environment"
        ? { ...resource, inputs: { stdin: '{"variables":{}}' } }
        : resource,
    );
    expect(compareConvex(new State("dev", earlier), inside)).toEqual([]);
  });
});
