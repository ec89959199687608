import net from "node:net";
import { type Duplex, pipeline } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

import type { Client, ClientChannel } from "ssh2";

import { Boot } from "./boot.ts";
import { dial, type Target, UnreachableError } from "./connect.ts";
import { dockerProxy } from "./docker-proxy.ts";
import { type Place, serve } from "./near-end.ts";

/** A server that a machine reaches: by the path of its own Unix socket, or by host and port. */
export type FarEnd = string | { host: string; port: number };

/** One end on this computer, the other a server that the machine reaches. */
export interface Forward {
  from: Place;
  /** Only asked for once a client needs it, because it may not be known before. */
  to: FarEnd | (() => Promise<FarEnd>);
  /** Whether a Docker engine is at the other end; see {@link dockerProxy}. Other protocols are forwarded unchanged. */
  docker?: boolean;
}

/**
 * Forwards the local ends over one SSH connection, until this process ends; see {@link serve}. The connection is opened when the
 * first client sends something, so a run without requests makes none. If it fails, and not because the machine boots, the client
 * is disconnected at once and the reason is reported.
 *
 * @param tell  called with the reason each time the machine cannot be reached, or a server elsewhere cannot
 * @param boot  how long to wait for a machine that boots; by default not at all
 * @throws Error if a socket's folder belongs to somebody else, or a port is taken
 */
export async function openTunnel(
  target: Promise<Target>,
  forwards: Forward[],
  tell: (reason: string) => void,
  boot = new Boot(0),
): Promise<void> {
  const connect = once(target, tell, boot);
  await serve(
    forwards.map(({ from, to, docker = false }) => {
      const open = async () => {
        const client = await connect();
        if (typeof to !== "function") return openChannel(client, to);
        return to()
          .then((end) => openChannel(client, end))
          .catch((error: unknown) => {
            tell(error instanceof Error ? error.message : String(error));
            throw error;
          });
      };
      return { at: from, server: docker ? dockerProxy(open) : relay(open) };
    }),
  );
}

/** One connection for all clients, opened again if it has broken. */
function once(target: Promise<Target>, tell: (reason: string) => void, boot: Boot): () => Promise<Client> {
  let current: Promise<Client> | undefined;
  // Those who ask for a connection get the error. If nobody asks, the process must not fail.
  target.catch(() => undefined);
  return () => {
    current ??= target
      .then((known) => reach(known, boot))
      .then(
        (client) => {
          client.once("close", () => (current = undefined));
          return client;
        },
        (error: unknown) => {
          current = undefined;
          tell(error instanceof Error ? error.message : String(error));
          throw error;
        },
      );
    return current;
  };
}

async function reach(target: Target, boot: Boot): Promise<Client> {
  const since = Date.now();
  for (;;) {
    try {
      return await dial(target, true);
    } catch (error) {
      if (!(error instanceof UnreachableError) || error.found === "stranger") throw error;
      if (!boot.isLikely(since, error.found === "refusal")) throw error;
      await sleep(POLL_MILLISECONDS);
    }
  }
}

const POLL_MILLISECONDS = 500;

/** A server that forwards every byte. */
function relay(open: () => Promise<Duplex>): net.Server {
  // A client that has sent everything may still wait for the answer.
  return net.createServer({ allowHalfOpen: true }, (near) => {
    near.on("error", () => near.destroy());
    // In PostgreSQL's protocol, the client sends first. A run that only checks whether this end is served sends nothing.
    near.once("readable", () => {
      if (near.readableLength === 0) {
        near.destroy();
        return;
      }
      open().then(
        (far) => {
          // Each side closes the other one, or breaks it if it breaks.
          pipeline(near, far, () => undefined);
          pipeline(far, near, () => undefined);
        },
        () => near.destroy(),
      );
    });
  });
}

function openChannel(client: Client, to: FarEnd): Promise<ClientChannel> {
  return new Promise((resolve, reject) => {
    const opened = (error: Error | undefined, channel: ClientChannel) => {
      if (error === undefined) resolve(channel);
      else {
        const where = typeof to === "string" ? `${to} on the droplet` : `${to.host}:${to.port} from the droplet`;
        reject(new Error(`${where}: cannot be reached (${error.message}). Find out why with: npm run doctor`));
      }
    };
    if (typeof to === "string") client.openssh_forwardOutStreamLocal(to, opened);
    else client.forwardOut("127.0.0.1", 0, to.host, to.port, opened);
  });
}
