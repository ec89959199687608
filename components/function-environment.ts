import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import * as tls from "@pulumi/tls";

import { jwks, jwtPrivateKey } from "./auth-keys.ts";
import type { Lifetime } from "./host.ts";
import { type Connection, runScript } from "./machine.ts";

export interface FunctionEnvironmentArgs {
  /** How to reach the machine the backend runs on. */
  connection: Connection;
  /** Mount point of the volume with the backend's data; the names that were set are kept there beside it. */
  mountpoint: pulumi.Input<string>;
  /** Port of the API on the machine. */
  apiPort: number;
  /** A key the running backend has accepted; secret. */
  adminKey: pulumi.Output<string>;
  /** Variables by name, values secret, or none. Changed in place; one that is no longer here is removed from the deployment. */
  functionEnvironment: Record<string, pulumi.Output<string>>;
  /** Whether `JWT_PRIVATE_KEY` and `JWKS` are generated. Switching it off forgets them, and with them all sessions. */
  authKeys: boolean;
  /** Lifetime of the run that sets them; they themselves are in the database. */
  onMachine: Lifetime;
}

/**
 * The environment variables of the deployment, which functions read with `process.env`.
 *
 * There with nothing to set, too: what an earlier run has set is in the database, and only a run of the script takes it back. The
 * engine would pass over a deletion whenever the machine is replaced in the same run.
 *
 * *Owns* the variables it is given, and the key pair of Convex Auth where that is asked for.
 * *Survives* a replaced droplet: the variables, in the database, and the key pair, in the state.
 * *Replacing it means* that the variables are looked at again, and set where they differ.
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
          // Sorted by name: what the deployment should have.
          variables: pulumi.secret(pulumi.jsonStringify(sorted(variables))),
        }),
        addPreviousOutputInEnv: false,
      },
      {
        ...child,
        ...args.onMachine,
        // States of before carry a deletion, which must not take away what a replacement has just set.
        deleteBeforeReplace: true,
        customTimeouts: { create: "10m", update: "10m" },
      },
    );
    this.registerOutputs({});
  }
}

/** What Convex Auth signs and checks its tokens with. RS256 is the one algorithm it knows. */
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
