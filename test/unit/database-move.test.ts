import * as pulumi from "@pulumi/pulumi";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { refuseOtherShape, tellConfirmation } from "../../components/database-shape.ts";
import { hasCluster, refuseUnknownCluster } from "../../digitalocean/former-cluster.ts";
import { configure, mockEngine } from "./program.ts";

const HOOK = { urn: "urn", id: "7", name: "x", type: "x" };

beforeEach(async () => {
  configure();
  await mockEngine();
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

describe("another place of the database", () => {
  const OWN = "environment=POSTGRES_URL=postgresql://convex:pw@host.docker.internal:5432\n";
  const MANAGED = "environment=POSTGRES_URL=postgresql://convex:pw@private-db.example.com:25060\n";
  const check = async (stdin: string, database: "droplet" | "managed", moveDatabase = false) => {
    const hook = refuseOtherShape("convex", { database, moveDatabase });
    expect(hook.opts).toEqual({ onDryRun: true });
    await hook.callback({ ...HOOK, oldInputs: { stdin } });
  };

  it.each([
    ["", "managed", "droplet"],
    [OWN, "managed", "droplet"],
    [MANAGED, "droplet", "managed"],
  ] as const)(
    "than that of the backend's variables %j is refused, unless it is to be moved",
    async (stdin, to, from) => {
      await check(stdin, from);
      await check(stdin, to, true);
      await expect(check(stdin, to)).rejects.toThrow(
        `convex-droplet:database: is ${to}, but this stack was deployed with ${from}, where its data is. Nothing was changed. ` +
          "Move it: npx pulumi config set --stack test moveDatabase true && npx pulumi up --stack test, ",
      );
    },
  );
});

it.each([
  ["true", false, ["moveDatabase: is not set any more, so up removes what a move has kept: the managed cluster"]],
  ["true", true, []],
  ["false", false, []],
])(
  "a run says what the end of a move removes, if the script had move=%s and the setting is %s",
  async (former, now, said) => {
    const told = vi.spyOn(pulumi.log, "info").mockResolvedValue();
    const hook = tellConfirmation("convex", now, "the managed cluster");
    expect(hook.opts).toEqual({ onDryRun: true });
    await hook.callback({ ...HOOK, oldInputs: { stdin: `migrate=false\nmove=${former}\n` } });
    expect(told.mock.calls.flat()).toEqual(said);
  },
);

describe("a cluster that a move may have left", () => {
  beforeEach(() => {
    vi.stubGlobal("fetch", () =>
      Promise.resolve(Response.json({ databases: [{ id: "77", name: "convex-prod" }], links: {} })),
    );
  });

  it("is the one with the stack's name", async () => {
    expect(await hasCluster("convex-prod")).toBe(true);
    expect(await hasCluster("convex-dev")).toBe(false);
  });

  it("is refused if the stack does not know it, because it must not give way to an empty one", async () => {
    const hook = refuseUnknownCluster("convex", "convex-prod");
    expect(hook.opts).toEqual({ onDryRun: true });
    await expect(Promise.resolve(hook.callback(HOOK))).rejects.toThrow(
      "convex-droplet:moveDatabase: is true and database is droplet, so cluster convex-prod (77) should be what a move has left, but it is not in the stack's state. Nothing was changed. " +
        "Go on without it: npx pulumi config rm --stack test moveDatabase; if nobody needs it, delete it: doctl databases delete 77",
    );
  });
});
