import { readFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { ConvexClient } from "convex/browser";
import { execa } from "execa";
import { afterAll, beforeAll, expect, it } from "vitest";
import { WebSocket } from "ws";

import { useDomain } from "../../sandbox/domain.ts";
import { acmeAuthority } from "../../sandbox/droplet/acme-server.ts";
import { ensurePackage } from "../../sandbox/prerequisites.ts";
import { TestCloud } from "../e2e/harness.ts";
import { useNames } from "../e2e/names.ts";

const STACK = "long";
const API = "https://api.convex.test";

let cloud: TestCloud;

beforeAll(async () => {
  await ensurePackage("testssl", "testssl.sh");
  cloud = await TestCloud.start();
  await cloud.createStack(STACK, { size: "s-1vcpu-2gb" });
  await useDomain(cloud.home, STACK, "convex.test");
  await useNames(cloud);
  const up = await cloud.up(STACK);
  expect(up.exitCode, up.all).toBe(0);
});

afterAll(() => cloud[Symbol.asyncDispose]());

/** A finding of testssl.sh. */
interface Finding {
  id: string;
  severity: string;
  finding: string;
}

/** What testssl.sh reports and is intended, or is due to the sandbox. */
const ACCEPTED = [
  // All ciphers are strong, so clients may choose the one that is fastest for them.
  "cipher_order",
  // Content-Security-Policy and the like are for the app to set.
  "security_headers",
  // The sandbox's authority revokes nothing, and its zones have no CAA records.
  "cert_revocation",
  "DNS_CAArecord",
];

async function grade(host: string): Promise<Finding[]> {
  const file = path.join(cloud.home.root, "testssl.json");
  const { publicIp = "" } = await cloud.outputs(STACK);
  const options = ["--quiet", "--color", "0", "--warnings", "off", "--add-ca", acmeAuthority(cloud.home)];
  await execa("testssl", [...options, "--ip", publicIp, "--jsonfile", file, host], { reject: false, stdin: "ignore" });
  return JSON.parse(await readFile(file, "utf8")) as Finding[];
}

it("has no weakness in TLS that testssl.sh knows", async () => {
  const found = await grade("api.convex.test");
  const of = (id: string) => found.find((finding) => finding.id.split(" ")[0] === id)?.finding;
  for (const id of ["SSLv2", "SSLv3", "TLS1", "TLS1_1"]) expect(of(id), id).toMatch(/^not offered/);
  for (const id of ["TLS1_2", "TLS1_3"]) expect(of(id), id).toMatch(/^offered/);
  expect(of("cert_chain_of_trust")).toMatch(/^passed/);
  expect(of("HSTS_time")).toContain("365 days");
  const weak = found.filter(({ severity }) => ["LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL"].includes(severity));
  expect(weak.filter(({ id }) => !ACCEPTED.includes(id))).toEqual([]);
});

it("keeps WebSockets open for ten minutes without traffic of the app", async () => {
  const client = new ConvexClient(API);
  const silent = new WebSocket(`${API.replace("https", "wss")}/api/1.48.0/sync`);
  try {
    const closed = new Promise((resolve) => silent.once("close", resolve).once("error", resolve));
    await new Promise((resolve) => silent.once("open", resolve));
    await expect.poll(() => client.connectionState().isWebSocketConnected).toBe(true);
    const end = await Promise.race([closed.then(() => "closed"), sleep(600_000, "open")]);
    expect(end).toBe("open");
    expect(client.connectionState()).toMatchObject({
      isWebSocketConnected: true,
      connectionCount: 1,
      connectionRetries: 0,
    });
  } finally {
    silent.terminate();
    await client.close();
  }
});
