import * as command from "@pulumi/command";
import * as digitalocean from "@pulumi/digitalocean";
import * as pulumi from "@pulumi/pulumi";
import * as tls from "@pulumi/tls";

import { refuseDropletSize, refuseVolumeSize, volumeName } from "../digitalocean/sizes.ts";
import type { Offer } from "../digitalocean/catalogue.ts";
import { DATA, MOUNTPOINT } from "../contract/names.ts";
import { deleteLostFromCloud } from "../error-hooks/cloud.ts";
import { deleteLostDroplet, switchOffDeafDroplet } from "../error-hooks/droplet.ts";
import { tellOfGone } from "../error-hooks/gone.ts";
import { tellOfHalfDone } from "../error-hooks/half-done.ts";
import type { Exposure } from "../settings/exposure.ts";
import { type Connection, machineFiles, runScript } from "./machine.ts";

export interface HostArgs {
  /** What droplet, volume, firewall and project are called in the account; unique there. Changing it replaces all of them. */
  label: string;
  /** Region slug of droplet and volume. Changing it replaces both. */
  region: string;
  /** Droplet size slug. Changing it power-cycles the droplet, whose disk stays as it is. */
  size: string;
  /** Sizes of the region, the cheapest first; those are proposed where a change of size is refused. */
  offers: readonly Offer[];
  /** Image slug; read when a droplet is made, no change of it touches an existing one. */
  image: string;
  /** Size of the data volume in GB. Grows in place; the provider refuses to shrink it. */
  volumeSizeGb: number;
  /** Whether the volume refuses to be deleted, and is kept even where the stack forgets it. */
  protectData: boolean;
  /** OpenSSH public keys that may log in as root beside the deploy key. Changed in place. */
  operatorKeys: string[];
  /** Networks that may reach SSH. Changed in place. */
  adminCidrs: string[];
  /** The ports that the firewall opens besides SSH. Changed in place. */
  exposure: Pick<Exposure, "openings">;
  /** How long a new droplet may take until it answers SSH, in seconds. */
  bootTimeoutSeconds: number;
  /** Called each time the droplet was changed, and may have been booted for it. */
  onChange: () => void;
  /** Opens an SSH agent on this computer for the machine with this host key, and gives back its socket's path. */
  sshAgent: (hostKey: pulumi.Output<string>) => pulumi.Output<string>;
}

/** When a resource is replaced, and when its deletion can be left out because its place goes too. */
export type Lifetime = Required<Pick<pulumi.CustomResourceOptions, "deletedWith" | "replaceWith">> &
  Pick<pulumi.CustomResourceOptions, "dependsOn">;

/**
 * A droplet that is ready for Convex: SSH with a host key known beforehand, its data volume mounted, Docker running.
 *
 * *Owns* droplet, volume, firewall, project, deploy key and host key.
 * *Survives* a replaced droplet: the volume with all data, and both keys.
 * *Replacing it means* a new droplet with the same name and keys and another address, which adopts the volume as it is.
 */
export class Host extends pulumi.ComponentResource {
  /** Known as soon as the droplet exists. */
  readonly publicIp: pulumi.Output<string>;
  /** Ready: resolves once the machine is set up, so whatever runs a command through it comes after that. */
  readonly connection: Connection;
  /** Another one with each droplet: what is set up on a machine is set up again where this changes. */
  readonly machineId: pulumi.Output<string>;
  /** Ready: the folder on the volume that belongs to Convex's files, and to nothing else. */
  readonly dataDirectory: pulumi.Output<string>;
  /** Ready: the volume's mount point. */
  readonly mountpoint: pulumi.Output<string>;
  /** OpenSSH private key of root's deploy key; secret. */
  readonly deployKey: pulumi.Output<string>;
  /** The machine's SSH host key, `ssh-ed25519 AAAA…`. */
  readonly hostKey: pulumi.Output<string>;
  /** Options for what lives on the droplet's own disk: made anew with each droplet, never taken down one by one with it. */
  readonly onMachine: Lifetime;
  /** Options for what lives on the volume: made anew only with another volume. */
  readonly onVolume: Lifetime;

  constructor(name: string, args: HostArgs, opts?: pulumi.ComponentResourceOptions) {
    super("convex-droplet:index:Host", name, {}, opts);
    const child = { parent: this };

    const deployKey = new tls.PrivateKey(`${name}-deploy-key`, { algorithm: "ED25519" }, child);
    const hostKey = new tls.PrivateKey(`${name}-host-key`, { algorithm: "ED25519" }, child);
    const tell = [tellOfGone(`${name}-host`), tellOfHalfDone(`${name}-host`)];
    // Their names can be held once: a forced replacement, too, has to delete before it creates.
    const unique = { ...child, deleteBeforeReplace: true, hooks: { onError: [deleteLostFromCloud(name), ...tell] } };
    const sshKey = new digitalocean.SshKey(
      `${name}-ssh-key`,
      { name: args.label, publicKey: deployKey.publicKeyOpenssh.apply(trim) },
      unique,
    );

    const volume = new digitalocean.Volume(
      `${name}-volume`,
      {
        name: volumeName(args.label),
        region: args.region,
        size: args.volumeSizeGb,
        description: "PostgreSQL data and Convex files",
      },
      {
        ...unique,
        protect: args.protectData,
        retainOnDelete: args.protectData,
        hooks: { ...unique.hooks, beforeUpdate: [refuseVolumeSize(name)] },
      },
    );

    const droplet = new digitalocean.Droplet(
      `${name}-droplet`,
      {
        name: args.label,
        region: args.region,
        size: args.size,
        // The data is on the volume. A disk that was not grown lets the droplet go back to the size it had.
        resizeDisk: false,
        image: args.image,
        sshKeys: [sshKey.id],
        userData: pulumi.secret(
          pulumi.all([hostKey.privateKeyOpenssh, hostKey.publicKeyOpenssh]).apply(([key, pub]) => userData(key, pub)),
        ),
        // Attached while it is made, which saves a wait of ten seconds over an attachment of its own.
        volumeIds: [volume.id],
        // Lets PostgreSQL and the backend end and the volume be unmounted before the volume is taken away.
        gracefulShutdown: true,
        monitoring: true,
        tags: ["convex-droplet"],
      },
      {
        ...child,
        // The name and the volume can be held by one droplet at a time.
        deleteBeforeReplace: true,
        // A volume that is replaced can only be deleted once no droplet holds it.
        replaceWith: [volume],
        // What only a new droplet reads must not replace one that runs.
        // And what somebody switched on is nothing to be taken away by the repair of something else: neither backups, nor
        // IPv6, which the provider can only take away with the droplet.
        ignoreChanges: ["image", "userData", "sshKeys", "backups", "backupPolicy", "ipv6"],
        hooks: {
          onError: [deleteLostDroplet(name), switchOffDeafDroplet(name), ...tell],
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

    new digitalocean.Project(
      `${name}-project`,
      {
        name: args.label,
        purpose: "Service or API",
        description: "Self-hosted Convex",
        resources: [droplet.dropletUrn, volume.volumeUrn],
      },
      // A project stops being the account's default only when another becomes it.
      { ...unique, ignoreChanges: ["isDefault"] },
    );

    const publicHostKey = hostKey.publicKeyOpenssh.apply(trim);
    const connection = pulumi.secret({
      host: droplet.ipv4Address,
      user: "root",
      privateKey: deployKey.privateKeyOpenssh,
      hostKey: publicHostKey,
      agentSocketPath: args.sshAgent(publicHostKey),
      perDialTimeout: 10,
    });

    const scripts = new command.remote.CopyToRemote(
      `${name}-scripts`,
      // The first to connect: it waits for as long as the droplet may take to boot.
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
        hooks: { onError: [explainSilence(name, args)] },
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
        }),
        // Where a refresh finds the droplet gone, the new one is no replacement to the engine, and may have the same address.
        triggers: [droplet.id],
        addPreviousOutputInEnv: false,
      },
      { ...child, replaceWith: [droplet], dependsOn: [scripts], customTimeouts: { create: "20m", update: "20m" } },
    );

    // The set-up and not the droplet itself: when the engine replaces a droplet it takes down what goes with it first, and
    // passes over a deletion only where the resource named here is among what it takes down.
    this.onMachine = { deletedWith: setup, replaceWith: [droplet], dependsOn: [setup] };
    this.onVolume = { deletedWith: setup, replaceWith: [volume] };

    const ready = setup.id;
    this.publicIp = droplet.ipv4Address;
    this.machineId = droplet.id;
    this.connection = pulumi.all([connection, ready]).apply(([known]) => known);
    this.mountpoint = ready.apply(() => MOUNTPOINT);
    this.dataDirectory = ready.apply(() => DATA);
    this.deployKey = deployKey.privateKeyOpenssh;
    this.hostKey = publicHostKey;
    this.registerOutputs({
      publicIp: this.publicIp,
      machineId: this.machineId,
      connection: this.connection,
      dataDirectory: this.dataDirectory,
      mountpoint: this.mountpoint,
      deployKey: this.deployKey,
      hostKey: this.hostKey,
    });
  }
}

/**
 * The volume's size, once it has it. A growth that failed is recorded as done: the run after it does nothing and reads the
 * size that there is, and only a third one would grow the volume.
 */
function grownTo(volume: digitalocean.Volume, sizeGb: number): pulumi.Output<number> {
  return volume.size.apply((found) => {
    if (found !== sizeGb) {
      const what = `is ${found} GB, it should be ${sizeGb} GB. An earlier run could not grow it. Run npx pulumi up again.`;
      throw new pulumi.ResourceError(what, volume, true);
    }
    return sizeGb;
  });
}

const EVERYWHERE = ["0.0.0.0/0", "::/0"];

/** Only the host key, so that it never has to change: everything else is done over the connection that this key proves. */
function userData(privateKey: string, publicKey: string): string {
  const indented = privateKey.trim().replaceAll("\n", "\n    ");
  return `#cloud-config
ssh_pwauth: false
ssh_deletekeys: true
ssh_keys:
  ed25519_private: |
    ${indented}
  ed25519_public: ${publicKey.trim()}
`;
}

function inboundRules(args: HostArgs): digitalocean.types.input.FirewallInboundRule[] {
  return [
    { protocol: "tcp", portRange: "22", sourceAddresses: args.adminCidrs },
    ...args.exposure.openings.map(({ port, networks }) => ({
      protocol: "tcp",
      portRange: String(port),
      sourceAddresses: networks,
    })),
  ];
}

/** The provider can only say that a dial failed; this says what a person looks at next. */
function explainSilence(name: string, args: HostArgs): pulumi.ErrorHook {
  return new pulumi.ErrorHook(`${name}-droplet-silent`, ({ errors }) => {
    const reason = errors[0] ?? "";
    if (/dial|handshake|timeout|deadline|timed out/i.test(reason)) {
      void pulumi.log.error(
        `the droplet ${args.label} did not let this computer in over SSH within ${args.bootTimeoutSeconds} s. ` +
          `See that adminCidrs (${args.adminCidrs.join(", ")}) holds this computer's address, and look at the droplet's ` +
          "console in DigitalOcean's control panel; then run npx pulumi up again.",
      );
    }
    return false;
  });
}

function trim(text: string): string {
  return text.trim();
}
