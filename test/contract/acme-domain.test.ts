import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";

import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { parse, parseDocument } from "yaml";

import { startCloud, stopCloud } from "../../sandbox/cloud/daemon.ts";
import { cloudToken } from "../../sandbox/cloud/token.ts";
import { accessOverTls, useDomain } from "../../sandbox/domain.ts";
import { acmeAuthority } from "../../sandbox/droplet/acme-server.ts";
import { layOutStack, projectFolder, stackFile } from "../../sandbox/project.ts";
import { caller, temporaryHome } from "./cloud-harness.ts";

const FAKE_MAIN = path.join(import.meta.dirname, "cloud-fake-main.ts");
/** What the fake machine room answers. */
const ACCESS = { directory: "https://192.0.2.1:14000/dir", authority: "the authority" };

let home: Awaited<ReturnType<typeof temporaryHome>>;

beforeAll(async () => {
  home = await temporaryHome();
  await startCloud(home, FAKE_MAIN);
});
afterAll(async () => {
  await stopCloud(home);
  await home[Symbol.asyncDispose]();
});
beforeEach(async () => {
  await mkdir(projectFolder(home), { recursive: true });
  await writeFile(stackFile(home, "mine"), "config: {}\n");
  await layOutStack(home, "mine");
});

async function settings(): Promise<Record<string, unknown>> {
  const { config } = parse(await readFile(stackFile(home, "mine"), "utf8")) as { config: Record<string, unknown> };
  return Object.fromEntries(
    Object.entries(config)
      .map(([key, value]) => [key.replace("convex-droplet:", ""), value] as const)
      .filter(([key]) => key !== "tunnelPort"),
  );
}

async function write(change: Record<string, unknown>): Promise<void> {
  const document = parseDocument(await readFile(stackFile(home, "mine"), "utf8"));
  for (const [key, value] of Object.entries(change)) document.setIn(["config", `convex-droplet:${key}`], value);
  await writeFile(stackFile(home, "mine"), document.toString());
}

test("the cloud starts the ACME server with its token only, and answers what a client needs", async () => {
  const path = "/_control/acme";
  const call = caller(`http://127.0.0.1:${home.apiPort}`, await cloudToken(home));
  expect(await call("POST", path)).toMatchObject({ status: 200, body: ACCESS });
  expect((await caller(`http://127.0.0.1:${home.apiPort}`, "x")("POST", path)).status).toBe(401);
});

test("a stack gets a domain with the ACME server's certificates, and keeps it with the present authorities", async () => {
  await useDomain(home, "mine", "convex.test");
  const wanted = {
    ...{ domain: "convex.test", createDnsZone: true },
    ...{ acmeDirectory: ACCESS.directory, acmeAuthority: ACCESS.authority },
  };
  expect(await settings()).toEqual(wanted);
  await write({ acmeAuthority: "the authority before a restart" });
  await layOutStack(home, "mine");
  await useDomain(home, "mine");
  expect(await settings()).toEqual(wanted);
  await useDomain(home, "mine", "other.test");
  expect(await settings()).toEqual({ ...wanted, domain: "other.test" });
});

test.each([
  ["without a domain", {}],
  ["with another ACME server", { domain: "convex.test", acmeDirectory: "https://192.0.2.2/dir", acmeAuthority: "its" }],
])("a stack %s stays as it is", async (_what, before) => {
  await write(before);
  await useDomain(home, "mine");
  expect(await settings()).toEqual(before);
});

test("only URLs with TLS need a name and an authority on this computer", async () => {
  expect(await accessOverTls(home, ["http://127.0.0.1:3210", 7, undefined])).toEqual([]);
  const authority = acmeAuthority(home);
  // No name server runs here.
  expect(await accessOverTls(home, ["https://api.convex.test", "https://actions.convex.test"])).toEqual([
    [
      expect.any(String),
      `curl --cacert ${authority} --resolve api.convex.test:443:ADDRESS https://api.convex.test/version`,
    ],
    [expect.any(String), `echo "ADDRESS api.convex.test actions.convex.test" >> /etc/hosts`],
    [expect.any(String), `export NODE_EXTRA_CA_CERTS=${authority}`],
  ]);
});
