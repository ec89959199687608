import * as command from "@pulumi/command";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import { contentHash } from "../contract/content-hash.ts";
import { APP_PORT, type ContainerNetwork, PORTS } from "../contract/names.ts";
import { reportUnpulled } from "../error-hooks/image.ts";
import type { AppSettings, GeneratedSecret } from "../settings/apps.ts";
import type { JobSettings } from "../settings/jobs.ts";
import type { Exposure } from "../settings/exposure.ts";
import type { Reference } from "../settings/kinds/references.ts";
import { App, folderLines, foldersOf } from "./app.ts";
import type { Convex } from "./convex.ts";
import type { Lifetime } from "./host.ts";
import { jobFolders, runJob } from "./jobs.ts";
import { type Connection, runScript } from "./machine.ts";
import { runProbes } from "./probes.ts";

export interface AppsArgs {
  /** Connection to the machine that the containers run on. */
  connection: Connection;
  /** The droplet's id. */
  machineId: pulumi.Input<string>;
  /** Mount point of the volume with the apps' folders. */
  mountpoint: pulumi.Input<string>;
  /** The apps, with those that an app depends on before it. */
  apps: AppSettings[];
  /** Commands that run once for each version, with those that a job depends on before it. */
  jobs: JobSettings[];
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
  /** Convex, with its functions if the stack deploys them, before the apps and jobs that refer to it. */
  convex: pulumi.Resource[];
  /** For jobs that refer to it. */
  adminKey: pulumi.Output<string>;
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
 * *Owns* their images, containers and generated secrets, the runs of jobs and probes, and nginx's file with their names.
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
      [...new Set([...args.apps, ...args.jobs].map(({ image }) => image))].map((image) => [
        image,
        this.#pull(name, image, args),
      ]),
    );
    /** What the container of an app, or of a job of it, has of the rest of the stack. */
    const within = (app: string, container: AppSettings | JobSettings) => ({
      // oxlint-disable-next-line typescript/no-non-null-assertion -- made from the same images
      image: images.get(container.image)!,
      values: Object.fromEntries(
        Object.entries(container.references).map(([variable, reference]) => [
          variable,
          valueOf(reference, args, secrets),
        ]),
      ),
      names: namesFor(app, container.references, args),
      acmeAuthorityFile: args.exposure.acmeAuthorityFile,
      postgresAuthority: Object.values(container.references).some(({ of }) => of === "database")
        ? args.postgresAuthority
        : undefined,
      convex: Object.values(container.references).some(({ of }) => of === "convex") ? args.convex : [],
    });

    const jobs = new Map<string, pulumi.Resource>();
    const running = new Map<string, App>();
    /** The jobs that run before apps, or those after them, which need what leads requests there. */
    const run = (isAfterApps: boolean, proxies: pulumi.Resource[]) => {
      for (const job of args.jobs.filter(({ afterApps }) => afterApps === isAfterApps)) {
        const { image, convex, ...own } = within(job.foldersOf, job);
        const before = job.dependsOn.flatMap((other) => jobs.get(other) ?? []);
        const tried = job.after.flatMap((app) => {
          const container = running.get(app)?.container;
          return container === undefined ? [] : [pulumi.interpolate`${app} ${container}`];
        });
        const after = [image, ...convex, ...before, ...proxies];
        jobs.set(job.name, runJob(name, { ...args, ...own, job, tried, after }, child));
      }
    };
    run(false, []);
    for (const app of args.apps) {
      const { convex, ...own } = within(app.name, app);
      const migrations = args.jobs.filter(({ before }) => before.includes(app.name));
      running.set(
        app.name,
        new App(
          name,
          {
            ...args,
            app,
            ...own,
            after: [
              ...convex,
              ...migrations.flatMap((job) => jobs.get(job.name) ?? []),
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
          folders: [
            ...args.apps.map((app) => foldersOf(app, args.mountpoint)),
            // Those of its app are there already.
            ...args.jobs.flatMap((job) => (job.foldersOf === job.name ? [jobFolders(job, args.mountpoint)] : [])),
          ].flatMap(folderLines),
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
    for (const app of args.apps.filter(({ probes }) => probes.length > 0)) {
      runProbes(name, { ...args, app, container: running.get(app.name)?.container ?? "", after: proxy }, child);
    }
    run(true, [proxy]);
    this.urls = proxy.id.apply(() =>
      Object.fromEntries(
        args.apps.flatMap(({ name: app, hosts: [host] }) => (host === undefined ? [] : [[app, `https://${host}`]])),
      ),
    );
    this.registerOutputs({ urls: this.urls });
  }

  /** One resource for each image, because apps may share it: the last one that uses it deletes it. */
  #pull(name: string, image: string, { inEngine, apps, jobs }: AppsArgs): docker.RemoteImage {
    const app = apps.find((other) => other.image === image);
    const job = jobs.find((other) => other.image === image);
    const setting = app === undefined ? `jobs.${job?.name ?? ""}.image` : `apps.${app.name}.image`;
    return new docker.RemoteImage(
      `${name}-apps-image-${contentHash(image)}`,
      // Every version leaves an image, and the root disk is small. A stopped container does not keep one.
      { name: image, keepLocally: false, forceRemove: true },
      // A delete names the image, and must not meet the one of another droplet.
      { parent: this, ...inEngine.options, deleteBeforeReplace: true, hooks: { onError: [reportUnpulled(setting)] } },
    );
  }
}

/** The component, if there are any apps, jobs or secrets for them: without, a stack has no such resource. */
export function appsOf(name: string, args: AppsArgs): Apps | undefined {
  return [args.apps, args.jobs, args.generatedSecrets].every(({ length }) => length === 0)
    ? undefined
    : new Apps(name, args);
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
  { apps, databaseUrls, origins, adminKey }: AppsArgs,
  secrets: Map<string, pulumi.Output<string>>,
): pulumi.Output<string> {
  switch (reference.of) {
    case "convex":
      if (reference.what === "adminKey") return pulumi.secret(adminKey);
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
 * The public names that an app or a job may call: its own, Convex's and those that it refers to. Not every network lets a machine reach its
 * public address from inside. Not all apps' names, so that a new app replaces no other's container.
 */
function namesFor(
  own: string,
  references: Record<string, Reference>,
  { apps, exposure: { hosts } }: AppsArgs,
): string[] {
  const referred = Object.values(references).flatMap((reference) =>
    reference.of === "app" && reference.what === "publicUrl" ? [reference.name] : [],
  );
  const others = apps.filter(({ name }) => name === own || referred.includes(name)).flatMap((other) => other.hosts);
  return [...new Set([...(hosts === undefined ? [] : [hosts.api, hosts.site]), ...others])];
}
