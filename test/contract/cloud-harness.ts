import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import type { Cloud } from "../../sandbox/cloud/cloud.ts";
import { openCloud } from "../../sandbox/cloud/cloud.ts";
import type {
  DatabaseEntrance,
  DatabaseSpec,
  DropletSpec,
  FirewallSpec,
  Hypervisor,
  MachineSize,
  VolumeSpec,
  ZoneSpec,
} from "../../sandbox/droplet/hypervisor.ts";
import type { RateLimits } from "../../sandbox/cloud/rate-limit.ts";
import { buildServer } from "../../sandbox/cloud/server.ts";
import { cloudToken } from "../../sandbox/cloud/token.ts";
import type { SandboxHome } from "../../sandbox/home.ts";
import { sandboxHome } from "../../sandbox/home.ts";
import { checkExchange } from "./openapi.ts";

/** A machine room that only records its calls, and refuses what a real one cannot do. */
export class RememberingHypervisor implements Hypervisor, AsyncDisposable {
  readonly machines = new Map<number, { spec: DropletSpec; running: boolean; size: MachineSize }>();
  readonly disks = new Map<string, { spec: VolumeSpec; sizeGigabytes: number; dropletId: number | undefined }>();
  readonly snapshots = new Set<string>();
  /** The reserved addresses that lead to a droplet. */
  readonly addresses = new Map<string, number>();
  firewalls: FirewallSpec[] = [];
  zones: ZoneSpec[] = [];
  readonly databases = new Map<string, DatabaseSpec>();
  entrances: DatabaseEntrance[] = [];
  readonly calls: string[] = [];
  /** The next call of these methods fails. */
  readonly failing = new Set<keyof Hypervisor>();
  /** All calls wait for it. */
  gate: Promise<unknown> = Promise.resolve();

  async createDroplet(spec: DropletSpec) {
    await this.#enter("createDroplet", spec.id);
    if (!this.machines.has(spec.id)) {
      const size = { memoryMegabytes: spec.memoryMegabytes, vcpus: spec.vcpus };
      this.machines.set(spec.id, { spec, running: true, size });
    }
    for (const id of spec.volumeIds) this.#disk(id).dropletId = spec.id;
  }

  dropletStatus(id: number): ReturnType<Hypervisor["dropletStatus"]> {
    const machine = this.machines.get(id);
    if (!machine) return Promise.resolve("absent");
    return Promise.resolve(machine.running ? "running" : "stopped");
  }

  async startDroplet(id: number) {
    await this.#enter("startDroplet", id);
    this.#machine(id).running = true;
  }

  async stopDroplet(id: number, how: "graceful" | "power-cut") {
    await this.#enter("stopDroplet", `${id} ${how}`);
    this.#machine(id).running = false;
  }

  async rebootDroplet(id: number) {
    await this.#enter("rebootDroplet", id);
    this.#machine(id).running = true;
  }

  async resizeDroplet(id: number, size: MachineSize) {
    await this.#enter("resizeDroplet", id);
    const machine = this.#machine(id);
    if (machine.running) throw new Error(`droplet ${id} runs`);
    machine.size = size;
  }

  async destroyDroplet(id: number) {
    await this.#enter("destroyDroplet", id);
    for (const disk of this.disks.values()) {
      if (disk.dropletId === id) disk.dropletId = undefined;
    }
    for (const [address, dropletId] of this.addresses) {
      if (dropletId === id) this.addresses.delete(address);
    }
    this.machines.delete(id);
  }

  async createVolume(spec: VolumeSpec) {
    await this.#enter("createVolume", spec.name);
    if (!this.disks.has(spec.id)) {
      this.disks.set(spec.id, { spec, sizeGigabytes: spec.sizeGigabytes, dropletId: undefined });
    }
  }

  async growVolume(id: string, sizeGigabytes: number) {
    await this.#enter("growVolume", id);
    this.#disk(id).sizeGigabytes = sizeGigabytes;
  }

  async deleteVolume(id: string) {
    await this.#enter("deleteVolume", id);
    if (this.disks.get(id)?.dropletId !== undefined) throw new Error(`disk ${id} is attached`);
    this.disks.delete(id);
  }

  async snapshotVolume(id: string, snapshotId: string) {
    await this.#enter("snapshotVolume", `${id} ${snapshotId}`);
    this.#disk(id);
    this.snapshots.add(snapshotId);
    return 0.256;
  }

  async deleteSnapshot(snapshotId: string) {
    await this.#enter("deleteSnapshot", snapshotId);
    this.snapshots.delete(snapshotId);
  }

  async attachVolume(id: string, dropletId: number) {
    await this.#enter("attachVolume", id);
    this.#machine(dropletId);
    const disk = this.#disk(id);
    if ((disk.dropletId ?? dropletId) !== dropletId) throw new Error(`disk ${id} is attached elsewhere`);
    disk.dropletId = dropletId;
  }

  async detachVolume(id: string) {
    await this.#enter("detachVolume", id);
    this.#disk(id).dropletId = undefined;
  }

  async assignAddress(address: string, dropletId: number) {
    await this.#enter("assignAddress", address);
    this.#machine(dropletId);
    this.addresses.set(address, dropletId);
  }

  async releaseAddress(address: string) {
    await this.#enter("releaseAddress", address);
    this.addresses.delete(address);
  }

  async applyFirewalls(firewalls: FirewallSpec[]) {
    await this.#enter("applyFirewalls", firewalls.length);
    for (const id of firewalls.flatMap((firewall) => firewall.dropletIds)) this.#machine(id);
    this.firewalls = firewalls;
  }

  async serveZones(zones: ZoneSpec[]) {
    await this.#enter("serveZones", zones.length);
    this.zones = zones;
  }

  async serveSpaces() {
    await this.#enter("serveSpaces", "");
  }

  async runDatabase(cluster: DatabaseSpec) {
    await this.#enter("runDatabase", cluster.nodes.join(" "));
    this.databases.set(cluster.id, cluster);
    return { version: "17.6", authority: "-----BEGIN CERTIFICATE-----\n", databases: ["defaultdb"] };
  }

  async queryDatabase(cluster: DatabaseSpec, database: string, sql: string) {
    await this.#enter("queryDatabase", `${database} ${sql}`);
    if (!this.databases.has(cluster.id)) throw new Error(`there is no database ${cluster.id}`);
    return "";
  }

  async killDatabaseNode(node: number) {
    await this.#enter("killDatabaseNode", node);
  }

  async backUpDatabase(cluster: DatabaseSpec) {
    await this.#enter("backUpDatabase", cluster.nodes.join(" "));
    return 2 ** 25;
  }

  async deleteDatabase(cluster: DatabaseSpec) {
    await this.#enter("deleteDatabase", cluster.nodes.join(" "));
    this.databases.delete(cluster.id);
  }

  async serveDatabases(entrances: DatabaseEntrance[]) {
    await this.#enter("serveDatabases", entrances.length);
    this.entrances = entrances;
  }

  async serveAcme() {
    await this.#enter("serveAcme", "");
    return { directory: "https://192.0.2.1:14000/dir", authority: "the authority" };
  }

  async [Symbol.asyncDispose]() {
    await this.gate;
  }

  async #enter(method: keyof Hypervisor, subject: string | number): Promise<void> {
    this.calls.push(`${method} ${subject}`);
    await this.gate;
    if (this.failing.delete(method)) throw new Error(`${method} fails, as told`);
  }

  #machine(id: number) {
    const machine = this.machines.get(id);
    if (!machine) throw new Error(`there is no droplet ${id}`);
    return machine;
  }

  #disk(id: string) {
    const disk = this.disks.get(id);
    if (!disk) throw new Error(`there is no disk ${id}`);
    return disk;
  }
}

/** An answer's body, as tests read it. */
export interface Json {
  [key: string]: Json;
  [index: number]: Json;
}

/** A leaf of it as text. */
export function textOf(leaf: unknown): string {
  return String(leaf);
}

export interface Answer {
  status: number;
  headers: Headers;
  body: Json;
}

export type Call = (method: string, path: string, body?: unknown) => Promise<Answer>;

/** Sends one request with an unchanged body, and checks request and answer against the published API description. */
export async function send(url: string, token: string, method: string, path: string, body?: string): Promise<Answer> {
  const answer = await fetch(url + path, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { "content-type": "application/json" }) },
    ...(body !== undefined && { body }),
  });
  const { status, headers } = answer;
  const text = await answer.text();
  checkExchange({ method, path, sent: body, status, headers, text });
  return { status, headers, body: (text === "" ? {} : JSON.parse(text)) as Json };
}

/** A caller of the API at `url` with a token. */
export function caller(url: string, token: string): Call {
  return (method, path, body) => send(url, token, method, path, body === undefined ? undefined : JSON.stringify(body));
}

export interface TestCloud extends AsyncDisposable {
  home: SandboxHome;
  url: string;
  token: string;
  cloud: Cloud;
  hypervisor: RememberingHypervisor;
  log: string[];
  call: Call;
}

/** A new sandbox root, removed at the end. */
export async function temporaryHome(): Promise<SandboxHome & AsyncDisposable> {
  const root = await mkdtemp(path.join(tmpdir(), "cloud-test-"));
  return { ...sandboxHome(root), [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }) };
}

/** Opens the cloud of `home` in this process, on a free port. */
export async function serveTestCloud(
  home: SandboxHome,
  hypervisor = new RememberingHypervisor(),
  limits: RateLimits = { perHour: 1e6, perMinute: 1e6 },
): Promise<TestCloud> {
  const log: string[] = [];
  const token = await cloudToken(home);
  const cloud = await openCloud(home, hypervisor, (line) => log.push(line));
  const server = buildServer(cloud, token, limits);
  const url = await server.listen({ host: "127.0.0.1", port: 0 });
  return {
    ...{ home, url, token, cloud, hypervisor, log, call: caller(url, token) },
    [Symbol.asyncDispose]: async () => {
      await server.close();
      await cloud[Symbol.asyncDispose]();
    },
  };
}
