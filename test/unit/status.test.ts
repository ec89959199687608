import { describe, expect, it } from "vitest";

import type { Container, Facts } from "../../operations/status/facts.ts";
import { rowsOf } from "../../operations/status/rows.ts";

const NOW = 1_800_000_000;
const GIB = 1024 ** 3;
const ago = (seconds: number) => new Date((NOW - seconds) * 1000).toISOString();

const CONTAINER: Container = {
  name: "convex-backend",
  image: "convex-backend@sha256:0123456789abcdef",
  revision: "",
  state: "running",
  health: "healthy",
  since: NOW - 3 * 3600,
  restarts: 0,
  killed: false,
};
const APP = { ...CONTAINER, name: "convex-app-web-0a1b2c", revision: "f00dfeedf00dfeed", since: NOW - 60 };
const FACTS: Facts = {
  now: NOW,
  up: 3 * 86400,
  load: 0.5,
  processors: 2,
  memory: { total: 4 * GIB, available: 3 * GIB },
  disks: [{ folder: "/", total: 100 * GIB, available: 60 * GIB, percent: 40 }],
  containers: [CONTAINER, { ...CONTAINER, name: "convex-dashboard", health: null }, APP],
  postgres: {
    version: "17.6",
    connections: 30,
    allowed: 100,
    wal: 64 * 1024 ** 2,
    databases: [
      { name: "chat", bytes: 8 * 1024 ** 2 },
      { name: "convex_self_hosted", bytes: GIB },
    ],
    tables: [{ name: "documents", bytes: 0.5 * GIB }],
  },
  backups: { point: { at: ago(30) }, base: { at: ago(7200) }, drill: { started: ago(86400 * 3), result: "ok" } },
  waiting: 0,
  certificate: { start: NOW - 86400, end: NOW + 86400 * 60 },
  packages: 0,
  reboot: null,
};
const DECLARED = {
  urls: { backend: "https://api.example.com", site: "https://site.example.com", dashboard: "http://127.0.0.1:6791" },
  apps: new Map([["web", APP.name]]),
  appUrls: { web: "https://app.example.com" },
  droplet: "s-2vcpu-4gb in fra1",
  monthlyCost: { "droplet s-2vcpu-4gb": 24, "volume 100 GB": 10 },
  hasBackups: true,
  isManaged: false,
  keptSince: undefined,
  isKeptByCloud: false,
  bucketServer: undefined,
};

const shown = (facts: Partial<Facts>) => rowsOf({ ...FACTS, ...facts }, DECLARED);
it("shows where the files are, if not on the volume", () => {
  const rows = rowsOf(FACTS, { ...DECLARED, bucketServer: "fra1.digitaloceanspaces.com" });
  expect(rows).toContainEqual({ name: "files", text: "in buckets at fra1.digitaloceanspaces.com", attention: false });
  expect(shown({}).map(({ name }) => name)).not.toContain("files");
});

/** The rows that a person should look at. */
const marked = (facts: Partial<Facts>) =>
  shown(facts)
    .filter(({ attention }) => attention)
    .map(({ name, text }) => `${name}: ${text}`);

describe("the status of a stack", () => {
  it("shows what serves since when and where, and how the rest is doing", () => {
    expect(shown({}).map(({ name, text }) => `${name}: ${text}`)).toEqual([
      "backend: healthy for 3 h, 0123456789ab  https://api.example.com",
      "dashboard: running for 3 h, 0123456789ab  http://127.0.0.1:6791",
      "app web: healthy for 60 s, f00dfeedf00d  https://app.example.com",
      "actions: https://site.example.com",
      "droplet: s-2vcpu-4gb in fra1, up 3 days, load 0.50 on 2 processors",
      "memory: 1.0 GiB of 4.0 GiB",
      "disk /: 40 % used, 60.0 GiB of 100.0 GiB free",
      "PostgreSQL: 17.6, write-ahead log 64.0 MiB",
      "connections: 30 of 100",
      "databases: chat 8.0 MiB, convex_self_hosted 1.0 GiB",
      "tables: documents 512.0 MiB (Convex's largest)",
      "restore point: 30 s ago",
      "backup: 2 h ago",
      "drill: 3 days ago, ok",
      "certificate: valid for 60 days",
      "updates: none",
      "cost: 34.00 USD a month at list prices",
    ]);
    expect(marked({})).toEqual([]);
  });

  it.each<[string, Partial<Facts>, string]>([
    ["a container is not healthy", { containers: backendWith({ health: "unhealthy" }) }, "backend: unhealthy for 3 h"],
    [
      "a container does not get healthy",
      { containers: backendWith({ health: "starting" }) },
      "backend: starting for 3 h",
    ],
    ["a container does not run", { containers: backendWith({ state: "exited" }) }, "backend: exited for 3 h"],
    [
      "a container was killed for memory",
      { containers: backendWith({ killed: true, restarts: 1 }) },
      "backend: healthy for 3 h, 1 restart, killed, because it used too much memory",
    ],
    ["an app is not there", { containers: FACTS.containers?.slice(0, 2) ?? null }, "app web: is not there"],
    ["memory is short", { memory: { total: 4 * GIB, available: 0.25 * GIB } }, "memory: 3.8 GiB of 4.0 GiB"],
    [
      "a disk is almost full",
      { disks: [{ folder: "/mnt/convex", total: 100, available: 8, percent: 92 }] },
      "disk /mnt/convex: 92 % used",
    ],
    ["PostgreSQL does not answer", { postgres: null }, "PostgreSQL: does not answer"],
    [
      "connections are short",
      { postgres: FACTS.postgres && { ...FACTS.postgres, connections: 95 } },
      "connections: 95 of 100",
    ],
    [
      "the last restore point is old",
      { backups: { ...FACTS.backups, point: { at: ago(1000) } } },
      "restore point: 16 min ago",
    ],
    ["the last backup is old", { backups: { ...FACTS.backups, base: { at: ago(30 * 3600) } } }, "backup: 30 h ago"],
    [
      "the last drill failed",
      { backups: { ...FACTS.backups, drill: { started: ago(60), result: "failed" } } },
      "drill: 60 s ago, failed",
    ],
    [
      "the certificate is not renewed",
      { certificate: { start: NOW - 80 * 86400, end: NOW + 86400 * 10 } },
      "certificate: valid for 10 days",
    ],
  ])("marks it if %s", (_, facts, row) => {
    expect(marked(facts)).toEqual([expect.stringContaining(row)]);
  });

  it("says that Docker does not answer for each container, and goes on with the rest", () => {
    expect(marked({ containers: null })).toEqual([
      "backend: Docker does not answer",
      "dashboard: Docker does not answer",
      "app web: Docker does not answer",
    ]);
  });

  it("does not mark a container that has just been started", () => {
    expect(marked({ containers: backendWith({ health: "starting", since: NOW - 8 }) })).toEqual([]);
  });

  it("does not mark an old restore point just after a boot, and marks that there are no backups", () => {
    expect(marked({ up: 60, backups: { ...FACTS.backups, point: { at: ago(3600) } } })).toEqual([]);
    expect(rowsOf(FACTS, { ...DECLARED, hasBackups: false }).filter(({ attention }) => attention)).toEqual([
      { name: "backups", text: "are off, so what is lost with the volume cannot be restored", attention: true },
    ]);
  });

  it("does not mark missing backups of a stack whose data is all in the cloud", () => {
    const rows = rowsOf(FACTS, { ...DECLARED, hasBackups: false, isKeptByCloud: true });
    expect(rows.filter(({ attention }) => attention)).toEqual([]);
    expect(rows.find(({ name }) => name === "backups")?.text).toContain("DigitalOcean's own");
  });
});

/** The containers with a changed backend. */
function backendWith(change: Partial<Container>): Container[] {
  return [{ ...CONTAINER, ...change }, ...(FACTS.containers ?? []).slice(1)];
}
