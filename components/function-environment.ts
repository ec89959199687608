import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import * as tls from "@pulumi/tls";

import { jwks, jwtPrivateKey } from "./auth-keys.ts";
import type { Lifetime } from "./host.ts";
import { type Connection, runScript } from "./machine.ts";

export interface FunctionEnvironmentArgs {
  /** Connection to the machine that the backend runs on. */
  connection: Connection;
  /** Mount point of the volume with the backend's data. The list of the variables that were set is there too. */
  mountpoint: pulumi.Input<string>;
  /** Port of the API on the machine. */
  apiPort: number;
  /** An admin key that the running backend has accepted; secret. */
  adminKey: pulumi.Output<string>;
  /** Variables by name, their values secret. Changed in place; a variable removed here is removed from the deployment. */
  functionEnvironment: Record<string, pulumi.Output<string>>;
  /** Whether to generate `JWT_PRIVATE_KEY` and `JWKS`. Switching it off deletes them and ends all sessions. */
  authKeys: boolean;
  /** Lifetime of the command that sets the variables. The variables are in the database. */
  onMachine: Lifetime;
}

/**
 * The environment variables of the deployment, which functions read with `process.env`.
 *
 * It is declared even if there are no variables: only a run of its script removes those that an earlier run has set. The engine
 * would skip a deletion if the same run replaces the machine.
 *
 * *Owns* the given variables, and with `authKeys` the key pair of Convex Auth.
 * *Survives* a replaced droplet: the variables, in the database, and the key pair, in the state.
 * *Replacing it means* that the variables are checked again, and set if they differ.
 */
export class FunctionEnvironment extends pulumi.ComponentResource {
  constructor(name: string, args: FunctionEnvironmentArgs, opts?: pulumi.ComponentResourceOptions) {
    super("convex-droplet:index:FunctionEnvironment", name, {}, opts);
    const child = { parent: this };

    const variables = {
      ...args.functionEnvironment,
      ...(args.authKeys ? authVariables(`${name}-auth-key`, child) : {}),
    };

    new command.remote.Command(
      `${name}-function-environment`,
      {
        connection: args.connection,
        ...runScript("functions/environment.sh", {
          port: args.apiPort,
          mountpoint: args.mountpoint,
          key: args.adminKey,
          // Sorted, so that their order in the configuration makes no difference.
          variables: pulumi.secret(pulumi.jsonStringify(sorted(variables))),
        }),
        addPreviousOutputInEnv: false,
      },
      {
        ...child,
        ...args.onMachine,
        // A state of an earlier release has a `delete` command. If it ran after the replacement, it would remove the new variables.
        deleteBeforeReplace: true,
        customTimeouts: { create: "10m", update: "10m" },
      },
    );
    this.registerOutputs({});
  }
}

/** The keys with which Convex Auth signs and checks its tokens. It supports only RS256. */
function authVariables(name: string, opts: pulumi.CustomResourceOptions): Record<string, pulumi.Output<string>> {
  const key = new tls.PrivateKey(name, { algorithm: "RSA", rsaBits: 2048 }, opts);
  return {
    JWT_PRIVATE_KEY: key.privateKeyPemPkcs8.apply(jwtPrivateKey),
    JWKS: key.publicKeyPem.apply(jwks),
  };
}

function sorted<T>(map: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1)));
}
