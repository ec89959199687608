import { createHash } from "node:crypto";

import * as pulumi from "@pulumi/pulumi";

import { Boot } from "./boot.ts";
import { socketFor } from "./near-end.ts";
import { openTunnel } from "./tunnel.ts";
import { onThisStack } from "../settings/on-this-stack.ts";

/** The tunnel's ends on this computer, known once it is open. They are the same on every computer. */
export interface RunTunnel {
  /** The Docker engine's address. */
  dockerHost: pulumi.Output<string>;
  /** Port on 127.0.0.1 that leads to PostgreSQL. */
  postgresPort: pulumi.Output<number>;
}

/** PostgreSQL's socket on the droplet. */
const SOCKET = "/var/run/postgresql/.s.PGSQL.5432";

/**
 * Opens the connection from this run's providers to the droplet's Docker engine and PostgreSQL server, until the run ends: the
 * engine keeps a program alive until the last step, also for deletions.
 *
 * `pulumi refresh` and `pulumi destroy` do not run the program by default, and then there is no connection.
 *
 * @param port  PostgreSQL's local port; 0 derives one from project and stack, from 20000 to 29999
 * @param boot  how long to wait for the droplet while it boots; by default not at all
 * @param postgres  a PostgreSQL server elsewhere, which the droplet reaches; undefined if it is on the droplet
 */
export function openRunTunnel(
  port: number,
  target: { host: pulumi.Output<string>; privateKey: pulumi.Output<string>; hostKey: pulumi.Output<string> },
  boot = new Boot(0),
  postgres?: { host: pulumi.Output<string>; port: pulumi.Output<number> },
): RunTunnel {
  const postgresPort = port === 0 ? portOf(`${pulumi.getProject()}/${pulumi.getStack()}`) : port;
  const dockerHost = target.hostKey.apply(async (hostKey) => {
    const socket = socketFor(hostKey, "docker.sock");
    const forwards = [
      { from: { socket }, to: "/var/run/docker.sock", docker: true },
      {
        from: { port: postgresPort },
        to: postgres === undefined ? SOCKET : () => known({ host: postgres.host, port: postgres.port }),
      },
    ];
    // PostgreSQL's provider only reports that its connection was closed.
    const tell = (reason: string) => void pulumi.log.warn(reason);
    await openTunnel(known(target), forwards, tell, boot).catch((error: unknown) => {
      throw new pulumi.RunError(error instanceof Error ? error.message : String(error));
    });
    return `unix://${socket}`;
  });
  return { dockerHost, postgresPort: dockerHost.apply(() => postgresPort) };
}

function portOf(stack: string): number {
  return 20000 + (createHash("sha256").update(stack).digest().readUInt32BE() % 10000);
}

/**
 * Resolves once all values are known. If there is no droplet, or no database, in a preview or for a refresh, they will not be known, and it
 * fails. Otherwise a client of the tunnel would wait forever.
 */
async function known<T extends Record<string, unknown>>(outputs: {
  [K in keyof T]: pulumi.Output<T[K]>;
}): Promise<T> {
  const all = pulumi.all(outputs as Record<string, pulumi.Output<unknown>>) as unknown as {
    isKnown: Promise<boolean>;
    promise: () => Promise<T>;
  };
  if (!(await all.isKnown)) {
    throw new Error(
      `there is no droplet, or it will be replaced, so nothing on it can be checked. If somebody destroyed it, create it again with: ${onThisStack("up", "--refresh --run-program --skip-preview --yes")}`,
    );
  }
  return all.promise();
}
