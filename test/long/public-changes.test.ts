import { readFile } from "node:fs/promises";
import path from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { useDomain } from "../../sandbox/domain.ts";
import { endedUp } from "../e2e/ended-up.ts";
import { TestCloud } from "../e2e/harness.ts";
import { useNames } from "../e2e/names.ts";
import { readRow, writeRow } from "../e2e/probe.ts";
import { stepByStep } from "../steps.ts";
import { succeeded } from "../e2e/succeeded.ts";

const STACK = "changes";
const API = "https://api.convex.test";
const RECORDS = "/v2/domains/convex.test/records";

let cloud: TestCloud;

beforeAll(async () => {
  cloud = await TestCloud.start();
  await cloud.createStack(STACK, { size: "s-1vcpu-2gb" });
});

afterAll(() => cloud[Symbol.asyncDispose]());

const set = (key: string, value: string) => cloud.configure(STACK, key, value);

/** The number of certificates that the ACME server has issued since it started. */
async function issued(): Promise<number> {
  const log = await readFile(path.join(cloud.home.root, "acme", "log"), "utf8");
  return log.match(/Issued certificate serial/g)?.length ?? 0;
}

interface DnsRecord {
  id: number;
  type: string;
  name: string;
  data: string;
}

/** The domain's records of addresses, sorted. */
async function records(): Promise<string[]> {
  const { domain_records: found } = (await (await cloud.cloud("GET", RECORDS)).json()) as {
    domain_records: DnsRecord[];
  };
  return found.flatMap(({ type, name, data }) => (type === "A" ? [`${name} ${data}`] : [])).sort();
}

/** Makes a record as a person does in the control panel. */
async function addRecord(name: string, address: string): Promise<DnsRecord> {
  const answer = await cloud.cloud("POST", RECORDS, { type: "A", name, data: address, ttl: 1800 });
  expect(answer.status).toBe(201);
  return ((await answer.json()) as { domain_record: DnsRecord }).domain_record;
}

const publicIp = async () => (await cloud.outputs(STACK))["publicIp"] ?? "";

// One stack; each test continues where the one before ended.
stepByStep();

describe("a domain whose records are made by hand", () => {
  const made: DnsRecord[] = [];

  it("is refused without records, with the records that it needs, and the instance stays as it was", async () => {
    succeeded(await cloud.up(STACK));
    await useDomain(cloud.home, STACK, "convex.test");
    await useNames(cloud);
    await set("createDnsZone", "false");
    await set("dns", "manual");
    await set("reservedIp", "true");
    // Each command over SSH reads this file. Two minutes are too long for a test.
    await cloud.onDroplet(STACK, "echo CONVEX_DROPLET_NAMES_SECONDS=5 > /etc/environment");
    const started = performance.now();
    const up = await cloud.up(STACK);
    await cloud.onDroplet(STACK, "rm /etc/environment");
    expect(up.exitCode).not.toBe(0);
    expect(performance.now() - started).toBeLessThan(90_000);
    const address = await cloud.reservedAddress();
    for (const name of ["api", "site"]) {
      expect(up.all).toContain(
        `error: ${name}.convex.test: has no record, it should have the record A ${address} and no other.`,
      );
    }
    expect(await issued()).toBe(0);
    expect((await cloud.onDroplet(STACK, "curl -fsS http://127.0.0.1:3210/version")).exitCode).toBe(0);
  });

  it("is served by the next up, once the records exist, also if one was killed while it got the certificate", async () => {
    expect((await cloud.cloud("POST", "/v2/domains", { name: "convex.test" })).status).toBe(201);
    const address = await cloud.reservedAddress();
    for (const name of ["api", "site"]) made.push(await addRecord(name, address));
    await endedUp(cloud, STACK, "kill", "the certificate to be asked for", (text) =>
      text.includes("getting a certificate"),
    );
    succeeded(await cloud.pulumi(["cancel", "--yes", "--stack", STACK]));
    succeeded(await cloud.up(STACK));
    await writeRow(API, "kept", "since the first day");
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
  });

  it("cannot be taken over while the records by hand are there, which a preview says, and leaves alone", async () => {
    await set("dns", "digitalocean");
    const before = await records();
    const preview = await cloud.pulumi(["preview", "--stack", STACK]);
    expect(preview.exitCode).not.toBe(0);
    // The names are looked up side by side, and the engine stops at the first one that is refused.
    expect(preview.all).toMatch(/(api|site)\.convex\.test already has the record A/);
    expect(preview.all).toContain("which this stack did not make, so it is not touched");
    expect(await records()).toEqual(before);
  });

  it("gets the stack's own records in one up after they are deleted", async () => {
    const before = await records();
    for (const { id } of made) expect((await cloud.cloud("DELETE", `${RECORDS}/${id}`)).status).toBe(204);
    succeeded(await cloud.up(STACK));
    expect(await records()).toEqual(before);
    expect(await readRow(API, "kept")).toBe("since the first day");
  });
});

describe("an instance under its names", () => {
  it.each(["false", "true"])("has records that follow the address if reservedIp becomes %s", async (reserved) => {
    const [before, certificates] = [await publicIp(), await issued()];
    await set("reservedIp", reserved);
    succeeded(await cloud.up(STACK));
    const address = await publicIp();
    expect(address).not.toBe(before);
    expect(await records()).toEqual([`api ${address}`, `site ${address}`]);
    expect(await issued()).toBe(certificates);
    expect(await readRow(API, "kept")).toBe("since the first day");
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
  });

  it("keeps address, certificate and data if the droplet is replaced", async () => {
    const [before, certificates, address] = [await records(), await issued(), await publicIp()];
    const up = await cloud.up(STACK, "--replace", "**convex-droplet");
    succeeded(up);
    expect(up.all).toContain("convex-droplet replaced");
    expect(await publicIp()).toBe(address);
    expect(await records()).toEqual(before);
    expect(await issued()).toBe(certificates);
    expect(await readRow(API, "kept")).toBe("since the first day");
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
  });
});
