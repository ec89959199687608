import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

import { type ContainerNetwork, HOST_IN_CONTAINERS, jobResource } from "../contract/names.ts";
import type { JobSettings } from "../settings/jobs.ts";
import { type AppArgs, environment, folderLines, foldersOf, mountsOf, trustedFiles } from "./app.ts";
import type { Convex } from "./convex.ts";
import type { Lifetime } from "./host.ts";
import { type Connection, runScript } from "./machine.ts";

export interface JobArgs {
  /** Connection to the machine that the container runs on. */
  connection: Connection;
  /** Mount point of the volume with the folders, and with the note of what has succeeded. */
  mountpoint: pulumi.Input<string>;
  /** Image, command, variables, limits and folders. Changing any of them runs it again. */
  job: JobSettings;
  /** The values of its references, by the variables that get them; secret. Changing one runs it again. */
  values: Record<string, pulumi.Output<string>>;
  /** Public names that it reaches through the machine's own proxy. */
  names: string[];
  /** Authorities that it has to trust. */
  acmeAuthorityFile: AppArgs["acmeAuthorityFile"];
  postgresAuthority: AppArgs["postgresAuthority"];
  /** The containers' network. */
  network: ContainerNetwork;
  inEngine: Convex["inEngine"];
  /** The apps that it runs after, each with its container, which it finds by the app's name. Another version runs it again. */
  tried: pulumi.Output<string>[];
  /** What has to be ready before it runs. */
  after: pulumi.Resource[];
  /** Lifetime of the scripts' runs. */
  onMachine: Lifetime;
}

/** A command of the user's own that runs once for each version of its container. Ready: it has succeeded. */
export function runJob(name: string, args: JobArgs, child: pulumi.CustomResourceOptions): command.remote.Command {
  const { job, mountpoint, onMachine } = args;
  return new command.remote.Command(
    jobResource(name, job.name),
    {
      connection: args.connection,
      ...runScript("apps/job.sh", {
        job: job.name,
        container: jobResource(name, job.name),
        mountpoint,
        folders: folderLines(jobFolders(job, mountpoint)),
        seconds: job.timeoutSeconds,
        apps: args.tried,
        request: requestOf(args),
      }),
      addPreviousOutputInEnv: false,
    },
    {
      ...child,
      ...onMachine,
      customTimeouts: { create: "3h", update: "3h" },
      dependsOn: [...([onMachine.dependsOn ?? []].flat() as pulumi.Resource[]), ...args.after],
    },
  );
}

/** The folders of a job on the volume: its app's, or its own. */
export function jobFolders(job: JobSettings, mountpoint: pulumi.Input<string>): ReturnType<typeof foldersOf> {
  return foldersOf({ ...job, name: job.foldersOf }, mountpoint);
}

/** What Docker's Engine has to create, as its API reads it; secret. The command is the program itself, as that of a task is. */
function requestOf(args: JobArgs): pulumi.Output<string> {
  const { job, mountpoint, network, inEngine } = args;
  const [program, ...words] = job.command;
  const bytes = job.memoryMb * 1024 ** 2;
  const trusted = trustedFiles(args);
  const binds = [
    ...jobFolders(job, mountpoint).map(
      ({ hostPath, containerPath }) => pulumi.interpolate`${hostPath}:${containerPath}`,
    ),
    ...mountsOf(trusted).map(({ hostPath, containerPath }) => pulumi.interpolate`${hostPath}:${containerPath}:ro`),
  ];
  const request = {
    Image: job.image,
    ...(program === undefined ? {} : { Entrypoint: [program], Cmd: words }),
    Env: environment({ ...args, app: job }, trusted),
    Healthcheck: { Test: ["NONE"] },
    HostConfig: {
      NetworkMode: inEngine.network,
      ExtraHosts: [HOST_IN_CONTAINERS, ...args.names].map((host) => `${host}:${network.gateway}`),
      Binds: binds,
      Memory: bytes,
      MemorySwap: bytes,
      ...(job.cpus === undefined ? {} : { NanoCpus: Math.round(Number(job.cpus) * 1e9) }),
      LogConfig: { Type: "json-file", Config: { "max-size": "10m", "max-file": "3" } },
    },
  };
  return pulumi.secret(pulumi.jsonStringify(request));
}
