import { cp, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { FinishedPush } from "../../sandbox/images/backend/pushes.ts";
import { readRow, writeFile as upload, readFile as download, writeRow } from "../e2e/probe.ts";
import { succeeded } from "../e2e/succeeded.ts";
import { stepByStep } from "../steps.ts";
import { Example } from "./example.ts";
import { underLoad } from "./load.ts";
import { publishStandIn, type StandIn } from "./stand-in.ts";

const CHECKOUT = path.resolve(import.meta.dirname, "../..");
const WEB = "https://convex.test";
const CONVEX = "https://api.convex.test";
/** What the pages get when their image is built. */
const PUBLIC = {
  NEXT_PUBLIC_CONVEX_URL: CONVEX,
  ...{ NEXT_PUBLIC_APP_URL: WEB, NEXT_PUBLIC_SITE_URL: WEB, NEXT_PUBLIC_SERVER_URL: WEB },
};

let example: Example;
/** The app's repository. */
let app: string;

beforeAll(async () => {
  example = await Example.start("openchat-convex");
  app = await mkdtemp(path.join(tmpdir(), "convex-droplet-openchat-"));
  await cp(path.join(CHECKOUT, "examples/app-repo"), path.join(app, "apps/server"), { recursive: true });
  await symlink(path.join(CHECKOUT, "node_modules"), path.join(app, "node_modules"));
});

afterAll(async () => {
  await example[Symbol.asyncDispose]();
  await rm(app, { recursive: true });
});

function web(revision: string, variables: Record<string, string> = PUBLIC): StandIn {
  const args = { REVISION: revision, PUBLIC: Object.keys(PUBLIC).join(","), ...variables };
  return { folder: "openchat/web", args };
}

/** What the backend got last from the Convex CLI. */
async function pushed(): Promise<FinishedPush> {
  const { adminKey = "" } = await example.cloud.outputs(example.stack);
  const headers = { authorization: `Convex ${adminKey}` };
  return (await (await fetch(`${CONVEX}/_control/push`, { headers })).json()) as FinishedPush;
}

// One stack; each test continues where the one before ended.
describe("OpenChat on Convex, from the example's stack file", () => {
  stepByStep();

  it("is refused at preview without the image of its user's own", async () => {
    const { exitCode, all } = await example.cloud.pulumi(["preview", "--stack", example.stack]);
    expect(exitCode).not.toBe(0);
    expect(all).toContain("has one mistake");
    expect(all).toContain("convex-droplet:apps.web.image: is missing");
    const others = { NEXT_PUBLIC_APP_URL: WEB, NEXT_PUBLIC_SITE_URL: WEB, NEXT_PUBLIC_SERVER_URL: WEB };
    await expect(publishStandIn(example.cloud.home, web("one", others))).rejects.toThrow("node ./build.ts");
    await example.set("apps.web.image", await publishStandIn(example.cloud.home, web("one")));
  });

  it("is refused at preview while the app is not beside the checkout", async () => {
    await example.set("functionPackage", path.join(app, "nowhere"));
    const { exitCode, all } = await example.cloud.pulumi(["preview", "--stack", example.stack]);
    expect(exitCode).not.toBe(0);
    expect(all).toContain("nowhere: is missing");
    await example.set("functionPackage", path.join(app, "apps/server"));
  });

  it("comes up in one run with functions and front end, and nothing drifts", async () => {
    await example.deploy();
    succeeded(await example.cloud.operate("doctor", example.stack, [], example.names));
    expect((await pushed()).modules.map((module) => module.path)).toEqual(["messages.js"]);
    const own = await example.environment("web");
    expect(Buffer.from(own["BETTER_AUTH_SECRET"] ?? "", "base64")).toHaveLength(32);
    expect(own["CONVEX_URL"]).toBe("http://backend:3210");
  });

  it("is opened by a browser over TLS, whose page calls Convex", async () => {
    await writeRow(CONVEX, "first", "hello");
    expect(await example.page(WEB)).toEqual({ state: "connected", messages: ["hello"] });
    const { status, headers } = await fetch("https://dash.convex.test");
    expect([status, headers.get("www-authenticate")]).toEqual([401, 'Basic realm="Convex dashboard"']);
  });

  it("takes another version of front end and functions, and loses no request of 50 connections", async () => {
    await example.set("apps.web.image", await publishStandIn(example.cloud.home, web("two")));
    await writeFile(path.join(app, "apps/server/convex/more.ts"), 'export { list } from "./messages.js";\n');
    const { requests, lost } = await underLoad(WEB, await example.address(), async () => {
      succeeded(await example.cloud.up(example.stack));
    });
    console.log(`an update under load: ${requests} requests, ${lost === "" ? "none lost" : lost}`);
    expect(lost).toBe("");
    expect(requests).toBeGreaterThan(500);
    expect(await (await fetch(WEB)).text()).toContain('"REVISION":"two"');
    expect((await pushed()).modules.map((module) => module.path)).toContain("more.js");
  });

  it("takes another version also if the run is killed in the middle, under the same load", async () => {
    await example.set("apps.web.image", await publishStandIn(example.cloud.home, web("three")));
    const { requests, lost } = await underLoad(WEB, await example.address(), () => example.deployKilled("web"));
    console.log(`a killed update under load: ${requests} requests, ${lost === "" ? "none lost" : lost}`);
    expect(lost).toBe("");
    expect(await (await fetch(WEB)).text()).toContain('"REVISION":"three"');
  });

  it("is restored with rows and files to one moment", async () => {
    const file = await upload(CONVEX, "a file");
    const moment = await example.moment();
    await writeRow(CONVEX, "first", "changed");
    await writeRow(CONVEX, "second", "lost");
    succeeded(await example.cloud.operate("backup", example.stack, ["now"]));
    succeeded(await example.cloud.operate("restore", example.stack, ["--to", moment, "--yes"]));
    expect([await readRow(CONVEX, "first"), await download(CONVEX, file)]).toEqual(["hello", "a file"]);
    expect(await example.page(WEB)).toEqual({ state: "connected", messages: ["hello"] });
    expect(succeeded(await example.cloud.operate("drift", example.stack))).toContain("is as declared");
  });

  it("is destroyed without a trace", async () => {
    await example.destroy();
  });
});
