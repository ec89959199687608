import * as command from "@pulumi/command";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import { contentHash } from "../contract/content-hash.ts";
import { APP_PORT, appResource, AUTHORITY_FILE, type ContainerNetwork, HOST_IN_CONTAINERS } from "../contract/names.ts";
import type { AppSettings } from "../settings/apps.ts";
import type { Convex } from "./convex.ts";
import type { Lifetime } from "./host.ts";
import { type Connection, runScript } from "./machine.ts";

export interface AppArgs {
  /** Connection to the machine that the container runs on. */
  connection: Connection;
  /** Mount point of the volume with the app's folders. */
  mountpoint: pulumi.Input<string>;
  /** Image, limits, port, health check, and folders. Changing any of them replaces the container. */
  app: AppSettings;
  /** The app's image on the machine. */
  image: docker.RemoteImage;
  /** The values of its references, by the variables that get them; secret. */
  values: Record<string, pulumi.Output<string>>;
  /** Public names that the app reaches through the machine's own proxy. */
  names: string[];
  /** On the machine: the private authority of the names' certificate, if it has one. */
  acmeAuthorityFile: string | undefined;
  /** The authority of PostgreSQL's certificate, PEM, if the app refers to a database. Another one replaces the container, which would keep the old file. */
  postgresAuthority: pulumi.Output<string> | undefined;
  /** The containers' network. */
  network: ContainerNetwork;
  /** What has to be ready before the container starts. */
  after: pulumi.Resource[];
  /** Provider and lifetime of containers. */
  inEngine: Convex["inEngine"];
  /** Lifetime of the scripts' runs. */
  onMachine: Lifetime;
}

/**
 * A container of the user's own, beside Convex.
 *
 * *Owns* the container, and the name of its version.
 * *Survives* a replaced droplet: its folders, which are on the volume and stay also if the app is removed.
 * *Replacing it means* that a new container is healthy before requests are led to it, and before the old one ends; with `stopFirst`, the old
 * one ends before.
 */
export class App extends pulumi.ComponentResource {
  /** Ready: the container's name, once it is healthy. */
  readonly container: pulumi.Output<string>;
  /** Ready: the address on the machine's loopback at which it answers; empty unless it is public. */
  readonly address: pulumi.Output<string>;

  constructor(name: string, args: AppArgs, opts?: pulumi.ComponentResourceOptions) {
    const { app } = args;
    const own = appResource(name, app.name);
    super("convex-droplet:index:App", `${name}-${app.name}`, {}, opts);
    const child = { parent: this };
    const isPublic = app.hosts.length > 0;
    const folders = foldersOf(app, args.mountpoint);
    const content = contentOf(args, folders);

    // Two versions run side by side for a while, so each has another name and another address. It is drawn, because what was
    // hashed must not be guessed from a name, and so that going back to an earlier version is a new one, too.
    const version = new random.RandomPassword(
      `${own}-version`,
      {
        length: 6,
        ...{ upper: false, lower: false, special: true, overrideSpecial: "abcdef" },
        keepers: { content: versionOf(args) },
      },
      child,
    );
    const drawn = pulumi.unsecret(version.result);
    const address = drawn.apply(loopbackAddress);

    const prepared =
      folders.length === 0
        ? []
        : [
            new command.remote.Command(
              `${own}-folders`,
              {
                connection: args.connection,
                ...runScript("apps/prepare.sh", { mountpoint: args.mountpoint, folders: folderLines(folders) }),
                addPreviousOutputInEnv: false,
              },
              { ...child, ...args.onMachine },
            ),
          ];
    const container = new docker.Container(
      own,
      {
        ...content,
        name: drawn.apply((suffix) => `${own}-${suffix}`),
        restart: "unless-stopped",
        stopTimeout: STOP_SECONDS,
        // Without it, the provider kills a container at once when it replaces it.
        destroyGraceSeconds: STOP_SECONDS,
        logDriver: "json-file",
        logOpts: { "max-size": "10m", "max-file": "3" },
        networksAdvanced: [{ name: args.inEngine.network, aliases: [app.name] }],
        // Docker would choose a free port again whenever the container starts.
        ...some(
          "ports",
          isPublic && app.port !== undefined ? [{ internal: app.port, external: APP_PORT, ip: address }] : [],
        ),
      },
      {
        ...child,
        ...args.inEngine.options,
        // The provider's default is to delete first.
        deleteBeforeReplace: app.stopFirst,
        dependsOn: [args.image, ...prepared, ...args.after],
      },
    );
    const ready = new command.remote.Command(
      `${own}-ready`,
      {
        connection: args.connection,
        ...runScript("apps/ready.sh", {
          app: app.name,
          container: container.name,
          port: app.port ?? "",
          health_path: app.healthPath ?? "",
          seconds: app.healthSeconds,
        }),
        // Checks every new container.
        triggers: [container.id],
        addPreviousOutputInEnv: false,
      },
      { ...child, ...args.onMachine, customTimeouts: { create: "20m", update: "20m" } },
    );
    this.container = pulumi.all([container.name, ready.id]).apply(([known]) => known);
    this.address = isPublic ? pulumi.all([address, ready.id]).apply(([known]) => known) : pulumi.output("");
    this.registerOutputs({ container: this.container, address: this.address });
  }
}

/** Another text after each change that replaces the container; secret. */
export function versionOf(args: AppArgs): pulumi.Output<string> {
  const { app, mountpoint } = args;
  const content = { ...contentOf(args, foldersOf(app, mountpoint)), port: app.port, isPublic: app.hosts.length > 0 };
  return pulumi.secret(pulumi.jsonStringify(content).apply(contentHash));
}

/** What makes a version: everything of a container but its name and its address. */
function contentOf(args: AppArgs, folders: ReturnType<typeof foldersOf>) {
  const { app } = args;
  const trusted = trustedFiles(args);
  return {
    image: app.image,
    ...some("command", app.command),
    envs: pulumi.secret(environment(args, trusted)),
    hosts: [HOST_IN_CONTAINERS, ...args.names].map((host) => ({ host, ip: args.network.gateway })),
    ...some("volumes", [
      ...folders.map(({ hostPath, containerPath }) => ({ hostPath, containerPath })),
      ...mountsOf(trusted),
    ]),
    ...(app.healthCommand === undefined ? {} : { healthcheck: healthcheck(app.healthCommand) }),
    ...(app.cpus === undefined ? {} : { cpus: app.cpus }),
    memory: app.memoryMb,
    memorySwap: app.memoryMb,
  };
}

/** A text or a list as a property; nothing without one or if it is empty, because the provider reads an empty list as nothing. */
function some<Key extends string, Value extends string | unknown[]>(
  key: Key,
  value: Value | undefined,
): Partial<Record<Key, Value>> {
  return value === undefined || value.length === 0 ? {} : ({ [key]: value } as Record<Key, Value>);
}

/** How long a container may take to end. */
const STOP_SECONDS = 10;

/** The folders of an app on the volume: where they are, where the container sees them, and whose they are. */
export function foldersOf(
  { name, folders, folderOwner }: Pick<AppSettings, "name" | "folders" | "folderOwner">,
  mountpoint: pulumi.Input<string>,
): { hostPath: pulumi.Output<string>; containerPath: string; owner: string }[] {
  return Object.entries(folders)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([folder, containerPath]) => ({
      hostPath: pulumi.interpolate`${mountpoint}/apps/${name}/${folder}`,
      containerPath,
      owner: folderOwner,
    }));
}

/** Folders as the machine's scripts read them. */
export function folderLines(folders: ReturnType<typeof foldersOf>): pulumi.Output<string>[] {
  return folders.map(({ owner, hostPath }) => pulumi.interpolate`${owner} ${hostPath}`);
}

/** An address of its own for each version, from six hexadecimal digits. All of 127.0.0.0/8 is the machine itself. */
export function loopbackAddress(digits: string): string {
  const [first = 0, second = 0, third = 0] = [0, 2, 4].map((start) =>
    Number.parseInt(digits.slice(start, start + 2), 16),
  );
  // Not in 127.0.0.0/16, where other programs are.
  return `127.${1 + (first % 254)}.${second}.${1 + (third % 254)}`;
}

/** The container's environment, sorted. */
export function environment(
  { app, values }: Pick<AppArgs, "values"> & { app: Pick<AppSettings, "port" | "variables"> },
  { acme, postgres }: Trusted,
): pulumi.Output<string[]> {
  return pulumi.all([values, acme?.containerPath, postgres?.containerPath]).apply(([known, acmeFile, postgresFile]) =>
    Object.entries({
      // Most programs listen there; an image may have another one for itself.
      ...(app.port === undefined ? {} : { PORT: String(app.port) }),
      // Node trusts only its own authorities, and those of one file.
      ...some("NODE_EXTRA_CA_CERTS", acmeFile ?? postgresFile),
      // Clients with PostgreSQL's own library trust only those of this file.
      ...some("PGSSLROOTCERT", postgresFile),
      ...app.variables,
      ...known,
    })
      .map(([variable, value]) => `${variable}=${value}`)
      .sort(),
  );
}

/** The authorities that a container has to trust. */
interface Trusted {
  acme?: { hostPath: string; containerPath: string };
  postgres?: { hostPath: string; containerPath: pulumi.Output<string> };
}

/** The authorities that the container has to trust: to reach public names of the stack, if a private one has signed for them, and databases. */
export function trustedFiles({
  acmeAuthorityFile: acme,
  postgresAuthority,
}: Pick<AppArgs, "acmeAuthorityFile" | "postgresAuthority">): Trusted {
  return {
    ...(acme === undefined ? {} : { acme: { hostPath: acme, containerPath: acme } }),
    ...(postgresAuthority === undefined
      ? {}
      : {
          postgres: {
            hostPath: AUTHORITY_FILE,
            containerPath: postgresAuthority.apply((pem) => `/etc/ssl/certs/convex-postgres-${contentHash(pem)}.pem`),
          },
        }),
  };
}

/** The same as mounts. */
export function mountsOf({ acme, postgres }: Trusted) {
  return [acme, postgres].flatMap((file) => (file === undefined ? [] : { ...file, readOnly: true }));
}

function healthcheck(shell: string) {
  return { tests: ["CMD-SHELL", shell], interval: "5s", timeout: "5s", retries: 3, startPeriod: "30s" };
}
