import { createHash, randomBytes } from "node:crypto";
import { cp, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import tls from "node:tls";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { useDomain } from "../../sandbox/domain.ts";
import type { FinishedPush } from "../../sandbox/images/backend/pushes.ts";
import type { Row } from "../../operations/status/rows.ts";
import { Availability } from "./availability.ts";
import { run, type Run, TestCloud } from "./harness.ts";
import { leaksOf, ProcessWatch, secretsOf } from "./leaks.ts";
import { useNames } from "./names.ts";
import { ALL_PORTS, call, openPorts, probe, readRow, writeRow } from "./probe.ts";
import { stepByStep } from "../steps.ts";
import { succeeded } from "./succeeded.ts";

const STACK = "public";

/** The outputs of names, if there are none. */
const NAMELESS = { dashboardPassword: "", dnsRecords: [] };

let cloud: TestCloud;
let processes: ProcessWatch;
/** The environment in which a program finds and trusts the stack's names. */
let named: Record<string, string>;

beforeAll(async () => {
  cloud = await TestCloud.start();
  processes = new ProcessWatch();
  await cloud.createStack(STACK, { size: "s-1vcpu-2gb", "allowedCidrs[0]": "127.0.0.0/8" });
});

afterAll(async () => {
  await processes[Symbol.asyncDispose]();
  await cloud[Symbol.asyncDispose]();
});

/** One `up` that moves the instance, during which it is not served for less than ten seconds. */
async function move(to: string): Promise<void> {
  const { backendUrl: from = "" } = await cloud.outputs(STACK);
  const availability = new Availability(`${from}/version`, `${to}/version`);
  const started = performance.now();
  let up: Run;
  try {
    up = await cloud.up(STACK);
  } finally {
    availability.stop();
  }
  succeeded(up);
  const { between, gap } = availability.moved();
  const seconds = (performance.now() - started) / 1000;
  console.log(
    `${from} to ${to}: up ${seconds.toFixed(0)} s; old to new ${between.toFixed(1)} s, no answer ${gap.toFixed(1)} s`,
  );
  expect(Math.max(between, gap)).toBeLessThan(10);
}

const sha256 = (content: Uint8Array) => createHash("sha256").update(content).digest("hex");

async function hasNoChanges(): Promise<void> {
  succeeded(await cloud.up(STACK, "--expect-no-changes"));
  const { stdout, all } = await cloud.operate("drift", STACK, ["--format", "json", "--ignore", "backups"]);
  expect(JSON.parse(stdout), all).toMatchObject({ findings: [], unknown: [] });
}

// One stack; each test continues where the one before ended.
describe("a stack", () => {
  stepByStep();

  it("is served over plain HTTP without a domain", async () => {
    succeeded(await cloud.up(STACK));
    const { backendUrl = "" } = await cloud.outputs(STACK);
    await writeRow(backendUrl, "plain", "plain");
    expect(await cloud.outputs(STACK)).toMatchObject(NAMELESS);
  });

  it("moves to a domain with a dashboard and a reserved address in one up", async () => {
    await useDomain(cloud.home, STACK, "convex.test");
    named = await useNames(cloud);
    await cloud.configure(STACK, "dashboardAccess", "password");
    await cloud.configure(STACK, "reservedIp", "true");
    await move("https://api.convex.test");
  });

  it("outputs its names and its reserved address, and the dashboard's password as a secret", async () => {
    const address = await cloud.reservedAddress();
    const { stdout } = await cloud.pulumi(["stack", "output", "--json", "--stack", STACK]);
    expect(JSON.parse(stdout)).toMatchObject({
      backendUrl: "https://api.convex.test",
      siteUrl: "https://site.convex.test",
      dashboardUrl: "https://dash.convex.test",
      dashboardPassword: "[secret]",
      dnsRecords: ["api", "site", "dash"].map((name) => `${name}.convex.test. 60 IN A ${address}`),
      publicIp: address,
    });
  });

  it("serves the same data at the names, and everything else as before", async () => {
    await probe(cloud, STACK, "named", [22, 80, 443]);
    expect(await readRow("https://api.convex.test", "plain")).toBe("plain");
  });

  it("answers only on the ports for SSH, HTTP and HTTPS, at both addresses", async () => {
    const { droplets } = (await (await cloud.cloud("GET", "/v2/droplets")).json()) as {
      droplets: { networks: { v4: { type: string; ip_address: string }[] } }[];
    };
    const own = droplets[0]?.networks.v4.find(({ type }) => type === "public")?.ip_address ?? "";
    const fixed = await cloud.reservedAddress();
    expect(own).not.toBe(fixed);
    expect(await Promise.all([own, fixed].map((address) => openPorts(address, ALL_PORTS)))).toEqual([
      [22, 80, 443],
      [22, 80, 443],
    ]);
  });

  it("offers no version of TLS below 1.2, and no weak cipher", async () => {
    const said = async (options: tls.ConnectionOptions) =>
      new Promise((resolve) => {
        const host = "api.convex.test";
        const socket = tls.connect({ host, port: 443, servername: host, ...options }, () => {
          resolve(socket.getProtocol());
          socket.destroy();
        });
        socket.on("error", ({ code }: NodeJS.ErrnoException) => {
          resolve(code);
        });
      });
    // OpenSSL itself offers old ones only at its lowest level.
    const ciphers = "ALL:@SECLEVEL=0";
    for (const version of ["TLSv1", "TLSv1.1"] as const) {
      expect(await said({ ciphers, minVersion: version, maxVersion: version })).toBe(
        "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION",
      );
    }
    const without = (strong: string) => ({ ciphers: `ALL:!${strong}:@SECLEVEL=0`, maxVersion: "TLSv1.2" as const });
    expect(await said(without("AESGCM:!CHACHA20"))).toBe("ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE");
    expect(await said(without("ECDHE"))).toBe("ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE");
    expect(await said({ maxVersion: "TLSv1.2" })).toBe("TLSv1.2");
    expect(await said({})).toBe("TLSv1.3");
  });

  it("has no changes in a second up, and nothing drifts", hasNoChanges);

  it("shows in its status for how long the certificate is valid", async () => {
    const { rows } = JSON.parse((await cloud.operate("status", STACK, ["--json"])).stdout) as { rows: Row[] };
    const certificate = { name: "certificate", text: expect.stringMatching(/^valid for \d+ days$/) as unknown };
    expect(rows).toContainEqual({ ...certificate, attention: false });
  });

  it("gets an app's functions from the Convex CLI, with the URL and key of env", async () => {
    const app = await mkdtemp(path.join(tmpdir(), "convex-droplet-app-"));
    try {
      await cp("examples/app-repo", app, { recursive: true });
      await symlink(path.resolve("node_modules"), path.join(app, "node_modules"));
      const file = path.join(app, ".env.local");
      succeeded(await cloud.operate("env", STACK, ["--file", file]));
      expect(await readFile(file, "utf8")).toContain("CONVEX_SELF_HOSTED_URL=https://api.convex.test\n");
      succeeded(await run("npx", ["convex", "deploy"], app, { env: { ...cloud.env, ...named, CI: "1" } }));
    } finally {
      await rm(app, { recursive: true });
    }
    const { adminKey = "" } = await cloud.outputs(STACK);
    const pushed = await fetch("https://api.convex.test/_control/push", {
      headers: { authorization: `Convex ${adminKey}` },
    });
    expect(((await pushed.json()) as FinishedPush).modules.map(({ path }) => path)).toEqual(["messages.js"]);
  });

  it("stores a file of 200 MB, and gives it back unchanged", async () => {
    const content = randomBytes(200_000_000);
    const uploadUrl = (await call("https://api.convex.test", "mutation", "sandbox:generateUploadUrl", {})) as string;
    expect(uploadUrl).toMatch(/^https:\/\/api\.convex\.test\//);
    const stored = await fetch(uploadUrl, { method: "POST", body: content });
    const { storageId } = (await stored.json()) as { storageId: string };
    const url = (await call("https://api.convex.test", "query", "sandbox:fileUrl", { storageId })) as string;
    expect(url).toMatch(/^https:\/\/api\.convex\.test\//);
    expect(sha256(await (await fetch(url)).bytes())).toBe(sha256(content));
  });

  it("shows no secret in output, state, process lists, logs or readable files", async () => {
    const secrets = await secretsOf(cloud, STACK);
    expect(Object.keys(secrets)).toContain("convex-dashboard-password.result");
    expect(await leaksOf(cloud, STACK, processes, secrets)).toEqual([]);
  });

  it("moves to another domain in one up", async () => {
    await useDomain(cloud.home, STACK, "other.test");
    await move("https://api.other.test");
    expect(await readRow("https://api.other.test", "named")).toBe("named");
    await expect(fetch("https://api.convex.test/version")).rejects.toThrow();
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
  });

  it("moves back to its address in one up, without a trace of names", async () => {
    for (const setting of ["domain", "createDnsZone", "acmeDirectory", "acmeAuthority", "dashboardAccess"]) {
      succeeded(await cloud.pulumi(["config", "rm", "--stack", STACK, setting]));
    }
    await move(`http://${await cloud.reservedAddress()}:3210`);
    await probe(cloud, STACK, "back");
    const { backendUrl = "", ...outputs } = await cloud.outputs(STACK);
    expect(await readRow(backendUrl, "named")).toBe("named");
    expect(outputs).toMatchObject(NAMELESS);
    await hasNoChanges();
  });
});
