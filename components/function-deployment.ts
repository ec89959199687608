import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

import { valueOf } from "../contract/value-of.ts";
import type { Lifetime } from "./host.ts";
import { type Connection, runScript, targetOf } from "./machine.ts";

/** The package with an app's functions, on the computer that runs the program. */
export interface FunctionSource {
  /** Identifies what a deploy would push. */
  fingerprint: () => string;
  /** @throws Error if it cannot be deployed */
  refuse: () => void;
  /** Deploys its functions; rejects if that fails. */
  push: (backend: {
    target: { host: string; privateKey: string; hostKey: string };
    apiPort: number;
    instanceName: string;
    adminKey: string;
  }) => Promise<void>;
}

export interface FunctionDeploymentArgs {
  /** Folder of the package, as it is set; empty for none. */
  functionPackage: string;
  /** Connection to the machine that the backend runs on. */
  connection: Connection;
  /** Port of the API on the machine. */
  apiPort: number;
  /** Name of the instance. */
  instanceName: string;
  /** An admin key that the running backend has accepted; secret. */
  adminKey: pulumi.Output<string>;
  /** The functions. Changing them deploys them again. */
  source: FunctionSource;
  /** Query that has to succeed; empty for none. Changing it only runs it. */
  functionProbe: string;
  /** What functions need when they are deployed, such as their variables. */
  after: pulumi.Resource[];
  /** Lifetime of what runs on the machine. */
  onMachine: Lifetime;
  /** Lifetime of the functions, which are in the database. */
  onVolume: Lifetime;
}

/**
 * The functions of an app, deployed from the computer that runs the program. Ready: they serve, and the probe has succeeded.
 *
 * A hook deploys them, because it has the app's files. The resource itself is the probe on the machine: if one of them fails, the next run
 * does both again.
 *
 * *Owns* nothing: if it is removed, the functions stay.
 * *Survives* a replaced droplet: the functions, in the database. If it has another address, the probe runs there.
 * *Replacing it means* that they are deployed again, which changes nothing if they are the same.
 */
export class FunctionDeployment extends pulumi.ComponentResource {
  constructor(name: string, args: FunctionDeploymentArgs, opts?: pulumi.ComponentResourceOptions) {
    super("convex-droplet:index:FunctionDeployment", name, {}, opts);
    const { connection, adminKey, apiPort, instanceName, source, onMachine, onVolume } = args;

    const refuse = new pulumi.ResourceHook(
      `${name}-functions-package`,
      () => {
        source.refuse();
      },
      { onDryRun: true },
    );
    const push = new pulumi.ResourceHook(`${name}-functions-push`, async () => {
      await source.push({
        target: await targetOf(connection),
        apiPort,
        instanceName,
        adminKey: await valueOf(adminKey),
      });
    });
    new command.remote.Command(
      `${name}-functions`,
      {
        connection,
        ...runScript("functions/probe.sh", { port: apiPort, key: adminKey, probe: args.functionProbe }),
        triggers: [source.fingerprint()],
        logging: command.remote.Logging.Stderr,
        addPreviousOutputInEnv: false,
      },
      {
        parent: this,
        ...onMachine,
        ...onVolume,
        dependsOn: [...([onMachine.dependsOn ?? []].flat() as pulumi.Resource[]), ...args.after],
        customTimeouts: { create: "10m", update: "10m" },
        hooks: { ...onMachine.hooks, beforeCreate: [refuse, push] },
      },
    );
    this.registerOutputs({});
  }
}

/** The component, if the stack deploys functions. */
export function functionsOf(name: string, args: FunctionDeploymentArgs): FunctionDeployment | undefined {
  return args.functionPackage === "" ? undefined : new FunctionDeployment(name, args);
}
