import type { RequestListener } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import Docker from "dockerode";
import type { SandboxHome } from "../home.ts";
import { AcmeServer } from "./acme-server.ts";
import {
  containerLimits,
  containerName,
  containerOptions,
  dockerDataVolume,
  EXIT_CODE_OF_REBOOT,
  SHUTDOWN_SIGNAL,
} from "./container.ts";
import { DatabaseClusters } from "./database/cluster.ts";
import { servedNames } from "./database/names.ts";
import { createDisk, deleteDisk, deleteSnapshotFile, growDisk, plugDisk, snapshotDisk, unplugDisk } from "./disk.ts";
import { hasStatus, tolerate } from "../docker.ts";
import { applyPacketRules } from "./firewall.ts";
import { removeGuest, writeGuest, writeVolumeTable } from "./guest.ts";
import {
  MAX_VOLUMES_PER_DROPLET,
  type AcmeAccess,
  type DatabaseEntrance,
  type DatabaseFacts,
  type DatabaseSpec,
  type DropletSpec,
  type FirewallSpec,
  type Hypervisor,
  type MachineSize,
  type VolumeSpec,
  type ZoneSpec,
} from "./hypervisor.ts";
import { ensureDropletImage } from "./image.ts";
import { runInside } from "./inside.ts";
import { type MetadataService, serveMetadata } from "./metadata.ts";
import { NameServer } from "./name-server.ts";
import { ensureNetwork, privateAddress, type SandboxNetwork, silence } from "./network.ts";
import { SpacesEntrance } from "./spaces-entrance.ts";
import { watchContainers } from "./container-watch.ts";
import { type DropletRecord, loadState, type MachineRoomState, saveState, type VolumeRecord } from "./state.ts";

/** A shutdown may take this long; then the power is cut. */
const SHUTDOWN_SECONDS = 90;

/** The droplet's names for its volumes: `sda`, `sdb`, … */
const DEVICES = Array.from({ length: MAX_VOLUMES_PER_DROPLET }, (_, index) => `sd${String.fromCharCode(97 + index)}`);

/**
 * Opens the machine room of a sandbox: droplets are system containers, volumes are files on loop devices, the public
 * network is the kernel's packet filter. If it is closed or killed, droplets keep running, without metadata and reboots,
 * and the next one takes them over. Only one process may have it open.
 */
export async function openMachineRoom(home: SandboxHome): Promise<Hypervisor & AsyncDisposable> {
  const network = await ensureNetwork(home);
  const state = await loadState(home);
  const metadata = await serveMetadata(
    network.gateway,
    (address) =>
      [...state.droplets.values()].find(({ spec }) => privateAddress(network, spec.publicAddress) === address)?.spec,
  );
  const room = new MachineRoom(home, network, metadata, state);
  await room.open();
  return room;
}

class MachineRoom implements Hypervisor, AsyncDisposable {
  readonly #docker = new Docker();
  readonly #home: SandboxHome;
  readonly #network: SandboxNetwork;
  readonly #metadata: MetadataService;
  readonly #state: MachineRoomState;
  readonly #names: NameServer;
  readonly #acme: AcmeServer;
  readonly #spaces: SpacesEntrance;
  readonly #databases: DatabaseClusters;
  #zones: ZoneSpec[] = [];
  #entrances: DatabaseEntrance[] = [];
  #watch: AsyncDisposable | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(home: SandboxHome, network: SandboxNetwork, metadata: MetadataService, state: MachineRoomState) {
    this.#home = home;
    this.#network = network;
    this.#metadata = metadata;
    this.#state = state;
    this.#names = new NameServer(home, network);
    this.#acme = new AcmeServer(home, network);
    this.#spaces = new SpacesEntrance(home, network);
    this.#databases = new DatabaseClusters(home, network);
  }

  async open(): Promise<void> {
    await this.#applyRules();
    await this.#acme.resume();
    this.#watch = watchContainers(this.#docker, this.#home, () => this.#exclusively(() => this.#finishReboots()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch?.[Symbol.asyncDispose]();
    await this.#last;
    await this.#metadata[Symbol.asyncDispose]();
    await this.#names[Symbol.asyncDispose]();
    await this.#acme[Symbol.asyncDispose]();
    await this.#spaces[Symbol.asyncDispose]();
  }

  createDroplet(droplet: DropletSpec): Promise<void> {
    return this.#exclusively(async () => {
      const image = await ensureDropletImage(() => undefined);
      this.#state.droplets.set(droplet.id, { spec: droplet, power: "on" });
      for (const volumeId of droplet.volumeIds) this.#recordAttachment(volumeId, droplet.id);
      await this.#save();
      await this.#applyRules();
      await writeGuest(this.#home, droplet);
      await this.#docker
        .createContainer(containerOptions(this.#home, this.#network, image, droplet))
        .catch(tolerate(409));
      await this.#boot(droplet.id);
    });
  }

  async dropletStatus(dropletId: number): Promise<"running" | "stopped" | "absent"> {
    const droplet = this.#state.droplets.get(dropletId);
    const container = await this.#inspect(dropletId);
    if (!droplet || !container) return "absent";
    return container.State.Running || awaitsReboot(droplet, container) ? "running" : "stopped";
  }

  startDroplet(dropletId: number): Promise<void> {
    return this.#exclusively(async () => {
      await this.#setPower(dropletId, "on");
      await this.#boot(dropletId);
    });
  }

  stopDroplet(dropletId: number, how: "graceful" | "power-cut"): Promise<void> {
    return this.#exclusively(async () => {
      await this.#setPower(dropletId, "off");
      await this.#stop(dropletId, how);
    });
  }

  rebootDroplet(dropletId: number): Promise<void> {
    return this.#exclusively(async () => {
      await this.#setPower(dropletId, "on");
      await this.#stop(dropletId, "graceful");
      await this.#boot(dropletId);
    });
  }

  resizeDroplet(dropletId: number, size: MachineSize): Promise<void> {
    return this.#exclusively(async () => {
      if ((await this.#initOf(dropletId)) !== undefined) {
        throw new Error(`droplet ${dropletId}: it runs, it should be off to be resized. Power it off first.`);
      }
      Object.assign(this.#droplet(dropletId).spec, size);
      await this.#save();
      await this.#container(dropletId).update(containerLimits(size));
    });
  }

  destroyDroplet(dropletId: number): Promise<void> {
    return this.#exclusively(async () => {
      await this.#container(dropletId).remove({ force: true }).catch(tolerate(404));
      await this.#docker.getVolume(dockerDataVolume(this.#home, dropletId)).remove().catch(tolerate(404));
      for (const volume of this.#volumesOf(dropletId)) {
        await unplugDisk(this.#home, volume.id);
        delete volume.attachment;
      }
      await removeGuest(this.#home, dropletId);
      this.#state.droplets.delete(dropletId);
      await this.#save();
      await this.#applyRules();
    });
  }

  createVolume(volume: VolumeSpec): Promise<void> {
    return this.#exclusively(async () => {
      await createDisk(this.#home, volume);
      if (this.#state.volumes.has(volume.id)) return;
      this.#state.volumes.set(volume.id, { id: volume.id, name: volume.name });
      await this.#save();
    });
  }

  growVolume(volumeId: string, sizeGigabytes: number): Promise<void> {
    return this.#exclusively(() => growDisk(this.#home, volumeId, sizeGigabytes));
  }

  deleteVolume(volumeId: string): Promise<void> {
    return this.#exclusively(async () => {
      const attachment = this.#state.volumes.get(volumeId)?.attachment;
      if (attachment) {
        throw new Error(`volume ${volumeId}: it is attached to droplet ${attachment.dropletId}. Detach it first.`);
      }
      await deleteDisk(this.#home, volumeId);
      this.#state.volumes.delete(volumeId);
      await this.#save();
    });
  }

  snapshotVolume(volumeId: string, snapshotId: string): Promise<number> {
    return this.#exclusively(async () => {
      const dropletId = this.#volume(volumeId).attachment?.dropletId;
      const init = dropletId === undefined ? undefined : await this.#initOf(dropletId);
      return snapshotDisk(this.#home, volumeId, snapshotId, init);
    });
  }

  deleteSnapshot(snapshotId: string): Promise<void> {
    return this.#exclusively(() => deleteSnapshotFile(this.#home, snapshotId));
  }

  attachVolume(volumeId: string, dropletId: number): Promise<void> {
    return this.#exclusively(async () => {
      this.#droplet(dropletId);
      this.#recordAttachment(volumeId, dropletId);
      await this.#save();
      await this.#showVolumes(dropletId, this.#volumesOf(dropletId));
    });
  }

  detachVolume(volumeId: string): Promise<void> {
    return this.#exclusively(async () => {
      const volume = this.#volume(volumeId);
      if (!volume.attachment) return;
      const { dropletId } = volume.attachment;
      await this.#showVolumes(
        dropletId,
        this.#volumesOf(dropletId).filter((other) => other !== volume),
      );
      await unplugDisk(this.#home, volumeId, await this.#initOf(dropletId));
      delete volume.attachment;
      await this.#save();
    });
  }

  assignAddress(address: string, dropletId: number): Promise<void> {
    return this.#exclusively(async () => {
      const { spec } = this.#droplet(dropletId);
      this.#forgetAddress(address);
      spec.reservedAddress = address;
      await this.#save();
      await this.#applyRules();
    });
  }

  releaseAddress(address: string): Promise<void> {
    return this.#exclusively(async () => {
      this.#forgetAddress(address);
      await this.#save();
      await this.#applyRules();
    });
  }

  applyFirewalls(firewalls: FirewallSpec[]): Promise<void> {
    return this.#exclusively(async () => {
      this.#state.firewalls = firewalls;
      await this.#save();
      await this.#applyRules();
    });
  }

  serveZones(zones: ZoneSpec[]): Promise<void> {
    return this.#exclusively(async () => {
      this.#zones = zones;
      await this.#serveNames();
    });
  }

  serveSpaces(service: RequestListener): Promise<void> {
    return this.#exclusively(async () => {
      if (this.#spaces.port !== undefined) return;
      await this.#spaces.serve(service);
      for (const id of this.#state.droplets.keys()) await this.#introduceSpaces(id);
      await this.#serveNames();
      await this.#applyRules();
    });
  }

  // The servers of a cluster need nothing of what this class remembers, so the work on them does not wait for droplets.
  runDatabase(cluster: DatabaseSpec): Promise<DatabaseFacts> {
    return this.#databases.run(cluster);
  }

  queryDatabase(cluster: DatabaseSpec, database: string, sql: string): Promise<string> {
    return this.#databases.query(cluster, database, sql);
  }

  killDatabaseNode(node: number): Promise<void> {
    return this.#databases.kill(node);
  }

  backUpDatabase(cluster: DatabaseSpec, backupId: string): Promise<number> {
    return this.#databases.backUp(cluster, backupId);
  }

  deleteDatabase(cluster: DatabaseSpec): Promise<void> {
    return this.#databases.delete(cluster);
  }

  serveDatabases(entrances: DatabaseEntrance[]): Promise<void> {
    return this.#exclusively(async () => {
      this.#entrances = entrances;
      await this.#applyRules();
      await this.#serveNames();
    });
  }

  serveAcme(): Promise<AcmeAccess> {
    return this.#exclusively(() => this.#acme.serve());
  }

  /** Changes happen one after the other; a failure ends only its own call. */
  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  #save(): Promise<void> {
    return saveState(this.#home, this.#state);
  }

  async #serveNames(): Promise<void> {
    const ran = this.#names.isRunning;
    const names = servedNames(this.#network, this.#entrances);
    await this.#names.serve({ zones: this.#zones, spaces: this.#spaces.port !== undefined, names });
    if (ran !== this.#names.isRunning) await this.#applyRules();
  }

  async #introduceSpaces(dropletId: number): Promise<void> {
    const init = await this.#initOf(dropletId);
    if (init !== undefined) await this.#spaces.introduceTo(init);
  }

  #applyRules(): Promise<void> {
    return applyPacketRules({
      home: this.#home,
      network: this.#network,
      metadataPort: this.#metadata.port,
      ...(this.#spaces.port !== undefined && { spacesPort: this.#spaces.port }),
      ...(this.#names.isRunning && { dnsPort: this.#home.dnsPort }),
      droplets: [...this.#state.droplets.values()].map(({ spec }) => spec),
      firewalls: this.#state.firewalls,
      databases: this.#entrances,
    });
  }

  async #boot(dropletId: number): Promise<void> {
    await writeGuest(this.#home, this.#droplet(dropletId).spec);
    await this.#showVolumes(dropletId, this.#volumesOf(dropletId));
    await this.#container(dropletId).start().catch(tolerate(304));
    await this.#introduceSpaces(dropletId);
  }

  async #stop(dropletId: number, how: "graceful" | "power-cut"): Promise<void> {
    const container = this.#container(dropletId);
    if (how === "graceful") {
      await this.#shutDown(container);
      return;
    }
    const init = await this.#initOf(dropletId);
    if (init !== undefined) await silence(init);
    await container.kill().catch(tolerate(409));
  }

  /** Asks each second, because a first process that has only just started does not hear it. */
  async #shutDown(container: Docker.Container): Promise<void> {
    const ended = container.wait().then(() => true);
    for (let second = 0; second < SHUTDOWN_SECONDS; second++) {
      await container.kill({ signal: SHUTDOWN_SIGNAL }).catch(tolerate(409));
      if (await Promise.race([ended, sleep(1000, false)])) return;
    }
    await container.kill().catch(tolerate(409));
    await ended;
  }

  /** Boots the droplets that ended for a reboot, because a container does not start again by itself. */
  async #finishReboots(): Promise<void> {
    for (const [id, droplet] of this.#state.droplets) {
      const container = await this.#inspect(id);
      if (container && awaitsReboot(droplet, container)) await this.#boot(id);
    }
  }

  async #setPower(dropletId: number, power: "on" | "off"): Promise<void> {
    this.#droplet(dropletId).power = power;
    await this.#save();
  }

  /** Makes the droplet see exactly these volumes: immediately if it runs, else at its next boot. */
  async #showVolumes(dropletId: number, volumes: VolumeRecord[]): Promise<void> {
    const table = [];
    for (const { id, name, attachment } of volumes) {
      const { major, minor } = await plugDisk(this.#home, id);
      if (attachment) table.push({ name, device: attachment.device, major, minor });
    }
    await writeVolumeTable(this.#home, dropletId, table);
    const init = await this.#initOf(dropletId);
    if (init !== undefined) await runInside(init, ["/usr/lib/sandbox/devices.sh"]);
  }

  #recordAttachment(volumeId: string, dropletId: number): void {
    const volume = this.#volume(volumeId);
    if (volume.attachment?.dropletId === dropletId) return;
    if (volume.attachment) {
      throw new Error(`volume ${volumeId}: it is attached to droplet ${volume.attachment.dropletId}. Detach it first.`);
    }
    const taken = this.#volumesOf(dropletId).map(({ attachment }) => attachment?.device);
    const device = DEVICES.find((name) => !taken.includes(name));
    if (device === undefined)
      throw new Error(`droplet ${dropletId}: it has ${DEVICES.length} volumes, the maximum. Detach one first.`);
    volume.attachment = { dropletId, device };
  }

  #forgetAddress(address: string): void {
    for (const { spec } of this.#state.droplets.values()) {
      if (spec.reservedAddress === address) delete spec.reservedAddress;
    }
  }

  #volumesOf(dropletId: number): VolumeRecord[] {
    return [...this.#state.volumes.values()].filter(({ attachment }) => attachment?.dropletId === dropletId);
  }

  #volume(volumeId: string): VolumeRecord {
    const volume = this.#state.volumes.get(volumeId);
    if (!volume) throw new Error(`volume ${volumeId}: does not exist. Create it first.`);
    return volume;
  }

  #droplet(dropletId: number): DropletRecord {
    const droplet = this.#state.droplets.get(dropletId);
    if (!droplet) throw new Error(`droplet ${dropletId}: does not exist. Create it first.`);
    return droplet;
  }

  #container(dropletId: number): Docker.Container {
    return this.#docker.getContainer(containerName(this.#home, dropletId));
  }

  async #inspect(dropletId: number): Promise<Docker.ContainerInspectInfo | undefined> {
    try {
      return await this.#container(dropletId).inspect();
    } catch (error) {
      if (hasStatus(error, 404)) return undefined;
      throw error;
    }
  }

  /** This computer's id of the droplet's first process; undefined if it does not run. */
  async #initOf(dropletId: number): Promise<number | undefined> {
    const container = await this.#inspect(dropletId);
    return container?.State.Running ? container.State.Pid : undefined;
  }
}

function awaitsReboot(droplet: DropletRecord, { State }: Docker.ContainerInspectInfo): boolean {
  return droplet.power === "on" && !State.Running && State.ExitCode === EXIT_CODE_OF_REBOOT;
}
