import * as command from "@pulumi/command";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import { contentHash } from "../contract/content-hash.ts";
import { APP_PORT, type ContainerNetwork, PORTS } from "../contract/names.ts";
import type { AppSettings, GeneratedSecret } from "../settings/apps.ts";
import type { Exposure } from "../settings/exposure.ts";
import type { Reference } from "../settings/kinds/references.ts";
import { App, folderLines, foldersOf } from "./app.ts";
import type { Convex } from "./convex.ts";
import type { Lifetime } from "./host.ts";
import { type Connection, runScript } from "./machine.ts";

export interface AppsArgs {
  /** Connection to the machine that the containers run on. */
  connection: Connection;
  /** The droplet's id. */
  machineId: pulumi.Input<string>;
  /** Mount point of the volume with the apps' folders. */
  mountpoint: pulumi.Input<string>;
  /** The apps, with those that an app depends on before it. */
  apps: AppSettings[];
  /** Secrets that apps refer to. Changing bytes or encoding gives another one, and removing one deletes it. */
  generatedSecrets: GeneratedSecret[];
  /** URLs of the further databases, by name; secret. */
  databaseUrls: Record<string, pulumi.Output<string>>;
  /** The authority of PostgreSQL's certificate, PEM. */
  postgresAuthority: pulumi.Output<string>;
  /** URLs at which clients reach API and HTTP actions of Convex. */
  origins: { cloud: pulumi.Input<string>; site: pulumi.Input<string> };
  /** Convex's own names, and the private authority of their certificate. */
  exposure: Pick<Exposure, "hosts" | "acmeAuthorityFile">;
  /** The containers' network. */
  network: ContainerNetwork;
  /** Convex, before the apps that refer to it. */
  convex: pulumi.Resource;
  /** The proxy, before anything is led to an app. */
  edge: pulumi.Resource;
  /** Network, provider and lifetime of containers. */
  inEngine: Convex["inEngine"];
  /** Lifetime of the scripts' runs. */
  onMachine: Lifetime;
}

/**
 * Containers of the user's own beside Convex, and what leads requests to them.
 *
 * *Owns* their images, containers and generated secrets, and nginx's file with their names.
 * *Survives* a replaced droplet: the secrets, in the state, and the folders, on the volume.
 * *Replacing it means* new containers with the same secrets, on the same folders.
 */
export class Apps extends pulumi.ComponentResource {
  /** Ready: the URL of each app that is public, once requests reach it. */
  readonly urls: pulumi.Output<Record<string, string>>;

  constructor(name: string, args: AppsArgs, opts?: pulumi.ComponentResourceOptions) {
    super("convex-droplet:index:Apps", name, {}, opts);
    const child = { parent: this };

    const secrets = new Map(args.generatedSecrets.map((secret) => [secret.name, generated(name, secret, child)]));
    const images = new Map(
      [...new Set(args.apps.map(({ image }) => image))].map((image) => [image, this.#pull(name, image, args)]),
    );
    const running = new Map<string, App>();
    for (const app of args.apps) {
      const references = Object.entries(app.references);
      running.set(
        app.name,
        new App(
          name,
          {
            ...args,
            app,
            // oxlint-disable-next-line typescript/no-non-null-assertion -- made from the same apps
            image: images.get(app.image)!,
            values: Object.fromEntries(
              references.map(([variable, reference]) => [variable, valueOf(reference, args, secrets)]),
            ),
            names: namesFor(app, args),
            acmeAuthorityFile: args.exposure.acmeAuthorityFile,
            postgresAuthority: references.some(([, { of }]) => of === "database") ? args.postgresAuthority : undefined,
            after: [
              ...(references.some(([, { of }]) => of === "convex") ? [args.convex] : []),
              ...app.dependsOn.flatMap((other) => running.get(other) ?? []),
            ],
          },
          child,
        ),
      );
    }

    const containers = [...running.entries()];
    const proxy = new command.remote.Command(
      `${name}-apps`,
      {
        connection: args.connection,
        ...runScript("apps/apps.sh", {
          mountpoint: args.mountpoint,
          folders: args.apps.flatMap((app) => folderLines(foldersOf(app, args.mountpoint))),
          sites: args.apps.flatMap(({ name: app, hosts }) =>
            hosts.map((host) => pulumi.interpolate`${host} ${running.get(app)?.address ?? ""}:${APP_PORT}`),
          ),
          probes: containers.map(([app, { container }], index) => {
            const { port, healthPath } = args.apps[index] ?? {};
            return pulumi.interpolate`${app} ${container} ${port ?? ""} ${healthPath ?? ""}`;
          }),
        }),
        triggers: [args.machineId],
        addPreviousOutputInEnv: false,
      },
      {
        ...child,
        ...args.onMachine,
        dependsOn: [...[args.onMachine.dependsOn ?? []].flat(), args.edge] as pulumi.Resource[],
      },
    );
    this.urls = proxy.id.apply(() =>
      Object.fromEntries(
        args.apps.flatMap(({ name: app, hosts: [host] }) => (host === undefined ? [] : [[app, `https://${host}`]])),
      ),
    );
    this.registerOutputs({ urls: this.urls });
  }

  /** One resource for each image, because apps may share it: the last one that uses it deletes it. */
  #pull(name: string, image: string, { inEngine }: AppsArgs): docker.RemoteImage {
    return new docker.RemoteImage(
      `${name}-apps-image-${contentHash(image)}`,
      // Every version leaves an image, and the root disk is small. A stopped container does not keep one.
      { name: image, keepLocally: false, forceRemove: true },
      // A delete names the image, and must not meet the one of another droplet.
      { parent: this, ...inEngine.options, deleteBeforeReplace: true },
    );
  }
}

/** The component, if there are any apps or secrets for them: without, a stack has no such resource and no such output. */
export function appsOf(name: string, args: AppsArgs): Apps | undefined {
  return args.apps.length === 0 && args.generatedSecrets.length === 0 ? undefined : new Apps(name, args);
}

/** Random bytes, made once. The id of a RandomBytes would be the secret in plain text. */
function generated(
  name: string,
  { name: secret, bytes, encoding }: GeneratedSecret,
  child: pulumi.CustomResourceOptions,
) {
  const hex = new random.RandomPassword(
    `${name}-secret-${secret}`,
    { length: bytes * 2, upper: false, lower: false, numeric: true, special: true, overrideSpecial: "abcdef" },
    child,
  );
  return hex.result.apply((digits) => Buffer.from(digits, "hex").toString(encoding));
}

/** The value of a reference. */
function valueOf(
  reference: Reference,
  { apps, databaseUrls, origins }: AppsArgs,
  secrets: Map<string, pulumi.Output<string>>,
): pulumi.Output<string> {
  switch (reference.of) {
    case "convex":
      if (reference.what === "internalUrl") return pulumi.output(`http://backend:${PORTS.api}`);
      return pulumi.output(reference.what === "url" ? origins.cloud : origins.site);
    case "database":
      return pulumi.secret(databaseUrls[reference.name] ?? "");
    case "secret":
      return pulumi.secret(secrets.get(reference.name) ?? "");
    case "app": {
      const { name, port = 0, hosts = [] } = apps.find((app) => app.name === reference.name) ?? {};
      return pulumi.output(reference.what === "url" ? `http://${name ?? ""}:${port}` : `https://${hosts[0] ?? ""}`);
    }
  }
}

/**
 * The public names that an app may call: its own, Convex's and those that it refers to. Not every network lets a machine reach its
 * public address from inside. Not all apps' names, so that a new app replaces no other's container.
 */
function namesFor(app: AppSettings, { apps, exposure: { hosts } }: AppsArgs): string[] {
  const referred = Object.values(app.references).flatMap((reference) =>
    reference.of === "app" && reference.what === "publicUrl" ? [reference.name] : [],
  );
  const others = apps
    .filter(({ name }) => name === app.name || referred.includes(name))
    .flatMap((other) => other.hosts);
  return [...new Set([...(hosts === undefined ? [] : [hosts.api, hosts.site]), ...others])];
}
