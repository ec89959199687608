import { expect, it } from "vitest";

import { compare } from "../../operations/findings/look.ts";
import { State } from "../../operations/state.ts";

it.each([
  ["unchanged", true],
  ["done, 2 changed", false],
])("a repair that was tried, after scripts that said %s, is told not to be one: %s", (said, isTold) => {
  const scripts = ["convex-setup", "convex-server"].map((name) => ({
    type: "command:remote:Command",
    name,
    id: name,
    inputs: {},
    outputs: { stderr: `postgres.sh: ${said}\n` },
  }));
  const key = { type: "tls:index/privateKey:PrivateKey", name: "convex-deploy-key", id: "", inputs: {} };
  const state = new State("dev", [...scripts, { ...key, outputs: { publicKeyOpenssh: "ssh-ed25519 AAAA" } }]);
  const found = compare(state, { differences: [], facts: new Map() }).find(({ path }) => path === "postgres");
  expect(found?.message.includes("they are not its fix")).toBe(isTold);
});
