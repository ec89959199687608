import { createHash } from "node:crypto";

import * as command from "@pulumi/command";
import * as digitalocean from "@pulumi/digitalocean";
import * as pulumi from "@pulumi/pulumi";
import * as tls from "@pulumi/tls";

import { type AdoptedVolume, refuseHeldVolume } from "../digitalocean/adopted-volume.ts";
import { refuseDropletSize, refuseVolumeSize, sizeOf, volumeName } from "../digitalocean/sizes.ts";
import type { Offer } from "../digitalocean/catalogue.ts";
import type { Safeguard } from "../digitalocean/volume-snapshots.ts";
import { DATA, MOUNTPOINT } from "../contract/names.ts";
import { explainBrokenConnection } from "../error-hooks/broken-connection.ts";
import { deleteLostFromCloud } from "../error-hooks/cloud.ts";
import { deleteLostDroplet, switchOffDeafDroplet } from "../error-hooks/droplet.ts";
import { reportGone } from "../error-hooks/gone.ts";
import { reportHalfDone } from "../error-hooks/half-done.ts";
import { reportLostAddress } from "../error-hooks/reserved-ip.ts";
import type { Exposure } from "../settings/exposure.ts";
import { EVERYWHERE } from "../settings/kinds/networks.ts";
import { type Area, userData } from "./first-boot.ts";
import { type Connection, machineFiles, runScript } from "./machine.ts";
import { refuseMissingDroplet } from "../digitalocean/missing-droplet.ts";
import { onThisStack } from "../settings/on-this-stack.ts";

export interface HostArgs {
  /** Name of droplet, firewall and project in the account, unique there. Changing it replaces them and the volume. */
  label: string;
  /** Region slug of droplet and volume. Changing it replaces both. */
  region: string;
  /** Droplet size slug. Changing it power-cycles the droplet, whose disk stays as it is. */
  size: string;
  /** Sizes of the region, the cheapest first. If a change of size is refused, the error proposes some of them. */
  offers: readonly Offer[];
  /** Image slug. Used when a droplet is created; a change does not affect an existing one. */
  image: string;
  /** Size of the data volume in GB. Grows in place; the provider refuses to shrink it. */
  volumeSizeGb: number;
  /** Whether the volume is protected from deletion, and kept even if it is removed from the stack. */
  protectData: boolean;
  /**
   * The snapshot that the volume is made from; empty for none. If the volume was not, a new one takes its place, with a new
   * droplet. The other one is kept if data is protected, and deleted otherwise. Without a snapshot again, the volume stays.
   */
  snapshotId: string;
  /**
   * An existing volume that a new stack uses instead of a blank one. The droplet refuses it if it does not have the instance. While
   * it is given, the volume is kept in any case.
   */
  adopted: AdoptedVolume | undefined;
  /** Name of the instance that an adopted volume must have. */
  instanceName: string;
  /** The secret of the instance that an adopted volume must have, 64 hexadecimal digits. */
  instanceSecret: string;
  /** Makes a snapshot before the volume grows, and before another droplet gets it. */
  safeguard: Safeguard;
  /** OpenSSH public keys that may log in as root, besides the deploy key. Changed in place. */
  operatorKeys: string[];
  /** Networks that may reach SSH. Changed in place. */
  adminCidrs: string[];
  /** With names, everybody may reach port 80, where the ACME server proves them. Changed in place. */
  exposure: Pick<Exposure, "hosts">;
  /** Whether the machine has a reserved address. Changing it changes `publicIp`. */
  reservedIp: boolean;
  /** The areas whose packages a new droplet installs at its first boot. A change does not affect an existing one. */
  packagesOf: readonly Area[];
  /** When the droplet may reboot for an update, HH:MM in UTC, or never. Changed in place. */
  rebootTime: string;
  /** How long to wait for a new droplet to answer SSH, in seconds. */
  bootTimeoutSeconds: number;
  /** Called after each change of the droplet, which may have booted it. */
  onChange: () => void;
  /** Opens an SSH agent on this computer for the machine with this host key, and returns the path of its socket. */
  sshAgent: (hostKey: pulumi.Output<string>) => pulumi.Output<string>;
}

/**
 * The resources with which a resource is replaced, and the one with which it disappears, so that no run needs to delete it; for
 * scripts on the droplet also what explains their errors.
 */
export type Lifetime = Required<Pick<pulumi.CustomResourceOptions, "deletedWith" | "replaceWith">> &
  Pick<pulumi.CustomResourceOptions, "dependsOn" | "hooks">;

/**
 * A droplet that is ready for Convex: its SSH host key is known, its data volume is mounted, Docker is running.
 *
 * *Owns* droplet, volume, reserved address, firewall, project, deploy key and host key.
 * *Survives* a replaced droplet: the volume with all data, the reserved address, and both keys.
 * *Replacing it means* a new droplet with the same name and keys, which adopts the volume. Without a reserved address, it has
 * another address.
 */
export class Host extends pulumi.ComponentResource {
  /** The reserved address if there is one, as soon as it leads to the droplet; otherwise the droplet's own. */
  readonly publicIp: pulumi.Output<string>;
  /** Ready: resolves once the machine is set up, so commands that use it run after that. */
  readonly connection: Connection;
  /** Changes with each droplet. Then everything on the machine is set up again. */
  readonly machineId: pulumi.Output<string>;
  /** The droplet's size. */
  readonly size: pulumi.Output<string>;
  readonly volumeSizeGb: pulumi.Output<number>;
  /** The volume's id at DigitalOcean. */
  readonly volumeId: pulumi.Output<string>;
  /** Ready: the folder on the volume for Convex's files only. */
  readonly dataDirectory: pulumi.Output<string>;
  /** Ready: the volume's mount point. */
  readonly mountpoint: pulumi.Output<string>;
  /** OpenSSH private key of root's deploy key; secret. */
  readonly deployKey: pulumi.Output<string>;
  /** The machine's SSH host key, `ssh-ed25519 AAAA…`. */
  readonly hostKey: pulumi.Output<string>;
  /** Options for everything on the droplet's own disk: replaced with the droplet, and not deleted before it. */
  readonly onMachine: Lifetime;
  /** Options for everything on the volume: replaced only with the volume. */
  readonly onVolume: Lifetime;

  constructor(name: string, args: HostArgs, opts?: pulumi.ComponentResourceOptions) {
    super(
      "convex-droplet:index:Host",
      name,
      {},
      { ...opts, hooks: { beforeCreate: refuseHeldVolume(name, args.adopted) } },
    );
    const child = { parent: this };

    const deployKey = new tls.PrivateKey(`${name}-deploy-key`, { algorithm: "ED25519" }, child);
    const hostKey = new tls.PrivateKey(`${name}-host-key`, { algorithm: "ED25519" }, child);
    const reports = [reportGone(`${name}-host`), reportHalfDone(`${name}-host`)];
    // Their names are unique, so a forced replacement must also delete before it creates.
    const unique = { ...child, deleteBeforeReplace: true, hooks: { onError: [deleteLostFromCloud(name), ...reports] } };
    const sshKey = new digitalocean.SshKey(
      `${name}-ssh-key`,
      { name: args.label, publicKey: deployKey.publicKeyOpenssh.apply(trim) },
      unique,
    );

    const isRestored = args.snapshotId !== "";
    const volume = new digitalocean.Volume(
      `${name}-volume`,
      {
        name: args.adopted?.name ?? volumeName(args.label, args.snapshotId),
        region: args.region,
        size: args.volumeSizeGb,
        description: "PostgreSQL data and Convex files",
        ...(isRestored ? { snapshotId: args.snapshotId } : {}),
      },
      {
        ...unique,
        // While the setting is there, the present volume may go, but not before the new one exists.
        ...(isRestored ? { deleteBeforeReplace: false } : { ignoreChanges: ["name", "snapshotId", "description"] }),
        ...(args.adopted && { import: args.adopted.id }),
        protect: args.protectData && !isRestored && args.adopted === undefined,
        retainOnDelete: args.protectData || args.adopted !== undefined,
        hooks: {
          ...unique.hooks,
          afterCreate: args.safeguard.afterNewVolume(name),
          beforeUpdate: [
            refuseVolumeSize(name),
            ...args.safeguard.beforeChange(`${name}-volume`, ({ id, oldOutputs, newInputs }) =>
              sizeOf(newInputs) === sizeOf(oldOutputs) ? undefined : id,
            ),
          ],
        },
      },
    );

    const droplet = new digitalocean.Droplet(
      `${name}-droplet`,
      {
        name: args.label,
        region: args.region,
        size: args.size,
        // The data is on the volume. If the disk does not grow, the droplet can go back to its earlier size.
        resizeDisk: false,
        image: args.image,
        sshKeys: [sshKey.id],
        userData: pulumi.secret(
          pulumi
            .all([hostKey.privateKeyOpenssh, hostKey.publicKeyOpenssh])
            .apply(([key, pub]) => userData(key, pub, args.packagesOf)),
        ),
        // Attached at creation: a separate attachment takes ten seconds longer.
        volumeIds: [volume.id],
        // PostgreSQL and the backend stop and the volume is unmounted before it is detached.
        gracefulShutdown: true,
        monitoring: true,
        tags: ["convex-droplet"],
      },
      {
        ...child,
        // Only one droplet at a time can have the name and the volume.
        deleteBeforeReplace: true,
        // A volume can only be deleted if it is attached to no droplet.
        replaceWith: [volume],
        // Only a new droplet reads the first three, so a change of them must not replace a running one. Somebody may have
        // switched on backups or IPv6, and a run must not undo that: the provider can disable IPv6 only by a replacement.
        ignoreChanges: ["image", "userData", "sshKeys", "backups", "backupPolicy", "ipv6"],
        hooks: {
          onError: [deleteLostDroplet(name), switchOffDeafDroplet(name), ...reports],
          beforeCreate: args.safeguard.beforeChange(`${name}-droplet`, () => volume.id),
          beforeUpdate: [refuseDropletSize(name, args.offers)],
          afterUpdate: [new pulumi.ResourceHook(`${name}-droplet-changed`, args.onChange)],
        },
      },
    );
    const firewall = new digitalocean.Firewall(
      `${name}-firewall`,
      {
        name: args.label,
        dropletIds: [droplet.id.apply(Number)],
        inboundRules: inboundRules(args),
        outboundRules: ["tcp", "udp", "icmp"].map((protocol) => ({
          protocol,
          ...(protocol === "icmp" ? {} : { portRange: "all" }),
          destinationAddresses: EVERYWHERE,
        })),
      },
      unique,
    );

    const project = new digitalocean.Project(
      `${name}-project`,
      { name: args.label, purpose: "Service or API", description: "Self-hosted Convex" },
      // A project is the account's default until another one becomes the default.
      { ...unique, ignoreChanges: ["isDefault"], dependsOn: [droplet, volume] },
    );
    // As a resource of its own, which ignores what else is in the project: DigitalOcean moves the reserved address there.
    const projectResources = new digitalocean.ProjectResources(
      `${name}-project-resources`,
      { project: project.id, resources: [droplet.dropletUrn, volume.volumeUrn] },
      { ...child, hooks: { onError: reports } },
    );

    // Not as an assignment of its own: the provider fails to delete one whose droplet somebody has deleted.
    const reservedIp = args.reservedIp
      ? new digitalocean.ReservedIp(
          `${name}-reserved-ip`,
          { region: args.region, dropletId: droplet.id.apply(Number) },
          // DigitalOcean refuses to move the droplet's project while it is assigned.
          { ...child, dependsOn: [projectResources], hooks: { onError: [reportLostAddress(name), ...reports] } },
        )
      : undefined;

    const publicHostKey = hostKey.publicKeyOpenssh.apply(trim);
    const connection = pulumi.secret({
      host: droplet.ipv4Address,
      user: "root",
      privateKey: deployKey.privateKeyOpenssh,
      hostKey: publicHostKey,
      agentSocketPath: args.sshAgent(publicHostKey),
      perDialTimeout: 10,
    });

    const broken = explainBrokenConnection(name);
    const scripts = new command.remote.CopyToRemote(
      `${name}-scripts`,
      // The first to connect, so it waits while the droplet boots.
      {
        connection: connection.apply((known) => ({ ...known, dialErrorLimit: -1 })),
        ...machineFiles,
        triggers: [droplet.id],
      },
      {
        ...child,
        replaceWith: [droplet],
        dependsOn: [firewall],
        customTimeouts: { create: `${args.bootTimeoutSeconds}s`, update: `${args.bootTimeoutSeconds}s` },
        hooks: { beforeCreate: [refuseMissingDroplet(name)], onError: [broken, explainSilence(name, args)] },
      },
    );

    const setup = new command.remote.Command(
      `${name}-setup`,
      {
        connection,
        ...runScript("host/host.sh", {
          volume: volume.name,
          size_gb: grownTo(volume, args.volumeSizeGb),
          mountpoint: MOUNTPOINT,
          operator_keys: args.operatorKeys,
          reboot_time: args.rebootTime,
          ...instanceOn(args),
          stack: pulumi.getStack(),
        }),
        // If a refresh does not find the droplet, the engine creates one instead of replacing it, maybe with the same address.
        triggers: [droplet.id],
        addPreviousOutputInEnv: false,
      },
      {
        ...child,
        replaceWith: [droplet],
        dependsOn: [scripts],
        hooks: { onError: [broken] },
        customTimeouts: { create: "20m", update: "20m" },
      },
    );

    // `deletedWith` names the setup and not the droplet. When the engine replaces a droplet, it first deletes the resources that
    // are replaced with it, and skips a deletion only if the resource in `deletedWith` is among them.
    this.onMachine = {
      deletedWith: setup,
      replaceWith: [droplet],
      dependsOn: [setup],
      hooks: { onError: [broken] },
    };
    // A volume from a snapshot has the cluster.
    this.onVolume = { deletedWith: setup, replaceWith: isRestored ? [] : [volume] };

    const ready = setup.id;
    this.publicIp = reservedIp?.ipAddress ?? droplet.ipv4Address;
    this.machineId = droplet.id;
    this.size = droplet.size;
    this.volumeSizeGb = volume.size;
    this.volumeId = volume.id;
    this.connection = pulumi.all([connection, ready]).apply(([known]) => known);
    this.mountpoint = ready.apply(() => MOUNTPOINT);
    this.dataDirectory = ready.apply(() => DATA);
    this.deployKey = deployKey.privateKeyOpenssh;
    this.hostKey = publicHostKey;
    this.registerOutputs({
      publicIp: this.publicIp,
      machineId: this.machineId,
      size: this.size,
      volumeSizeGb: this.volumeSizeGb,
      volumeId: this.volumeId,
      connection: this.connection,
      dataDirectory: this.dataDirectory,
      mountpoint: this.mountpoint,
      deployKey: this.deployKey,
      hostKey: this.hostKey,
    });
  }
}

/**
 * The volume's size, once the volume has grown to it. The provider records a failed growth as done, so the next run only reads
 * the real size, and only a third run would grow the volume.
 */
function grownTo(volume: digitalocean.Volume, sizeGb: number): pulumi.Output<number> {
  return volume.size.apply((found) => {
    if (found !== sizeGb) {
      const fault = `is ${found} GB, it should be ${sizeGb} GB. An earlier run could not grow it. Run ${onThisStack("up")} again.`;
      throw new pulumi.ResourceError(fault, volume, true);
    }
    return sizeGb;
  });
}

/** The instance that must be on an adopted volume; empty for any other volume. */
function instanceOn({ adopted, instanceName, instanceSecret }: HostArgs) {
  if (adopted === undefined) return { adopted_name: "", adopted_secret_hash: "" };
  return {
    adopted_name: instanceName,
    adopted_secret_hash: createHash("sha256").update(instanceSecret).digest("hex"),
  };
}

function inboundRules(args: HostArgs): digitalocean.types.input.FirewallInboundRule[] {
  return [
    { protocol: "tcp", portRange: "22", sourceAddresses: args.adminCidrs },
    ...(args.exposure.hosts === undefined ? [] : [{ protocol: "tcp", portRange: "80", sourceAddresses: EVERYWHERE }]),
  ];
}

/** The provider only reports that the connection failed. This hook adds what to check. */
function explainSilence(name: string, args: HostArgs): pulumi.ErrorHook {
  return new pulumi.ErrorHook(`${name}-droplet-silent`, ({ errors }) => {
    const reason = errors[0] ?? "";
    if (/dial|handshake|timeout|deadline|timed out/i.test(reason)) {
      void pulumi.log.error(
        `the droplet ${args.label} did not accept an SSH connection from this computer within ${args.bootTimeoutSeconds} s. ` +
          `Check that adminCidrs (${args.adminCidrs.join(", ")}) contains this computer's address, and look at the droplet's ` +
          `console in DigitalOcean's control panel; then run ${onThisStack("up")} again.`,
      );
    }
    return false;
  });
}

function trim(text: string): string {
  return text.trim();
}
