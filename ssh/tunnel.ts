import { lstatSync, mkdirSync, rmdirSync, rmSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import { pipeline } from "node:stream";

import type { Client, ClientChannel } from "ssh2";

import { dial, type Target } from "./connect.ts";

/** One end on this computer, the other a Unix socket on the machine. */
export interface Forward {
  from: { socket: string } | { port: number };
  to: string;
}

/** How often a run looks whether the one that serves its near ends has gone. */
const STAND_BY_MS = 100;

/**
 * Listens at the near ends for as long as this process lives, and forwards what arrives over one SSH connection. That
 * connection is made when the first client comes and not before: a run that has nothing to ask costs no round trip.
 * Where it cannot be made, the client is let go at once and the reason is told.
 *
 * It never keeps the process alive, and leaves nothing behind but, where the process is killed, a dead socket file in its
 * folder, which the next run replaces. If another run on this computer serves the same near ends now, its tunnel serves
 * both, and this one takes over when that run ends.
 *
 * @param tell  called with the reason each time the machine cannot be reached
 * @throws Error when a socket's folder belongs to somebody else, or a port is taken
 */
export async function openTunnel(
  target: Promise<Target>,
  forwards: Forward[],
  tell: (reason: string) => void,
): Promise<void> {
  const connect = once(target, tell);
  const sockets = forwards.flatMap(({ from }) => ("socket" in from ? [from.socket] : []));
  // Before anybody looks into it: a socket in somebody else's folder would be served by somebody else.
  sockets.forEach(makePrivateFolder);
  // The ports first. Only one run can have them, so the sockets behind them are that run's to replace.
  const order = forwards.toSorted((one, other) => Number("socket" in one.from) - Number("socket" in other.from));
  const serve = async () => {
    for (const forward of order) await listen(forward, connect);
  };
  if (await isAnyServed(sockets)) standBy(sockets, serve);
  else await serve();
}

function standBy(sockets: string[], serve: () => Promise<void>): void {
  setTimeout(() => {
    void isAnyServed(sockets).then(async (served) => {
      // Another run that stood by may have been faster.
      if (!served) await serve().catch(() => (served = true));
      if (served) standBy(sockets, serve);
    });
  }, STAND_BY_MS).unref();
}

/** One connection for all clients, made again if it has broken since. */
function once(target: Promise<Target>, tell: (reason: string) => void): () => Promise<Client> {
  let current: Promise<Client> | undefined;
  // Heard by whoever asks for a connection; without anybody who does it is no failure of the process.
  target.catch(() => undefined);
  return () => {
    current ??= target
      .then((known) => dial(known, true))
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

async function listen({ from, to }: Forward, connect: () => Promise<Client>): Promise<void> {
  // A client that has said all may still be waiting for the answer.
  const server = net.createServer({ allowHalfOpen: true }, (near) => {
    near.unref();
    near.on("error", () => near.destroy());
    // Both protocols let the client speak first; who says nothing is a run that looks whether somebody serves here.
    near.once("readable", () => {
      if (near.readableLength === 0) {
        near.destroy();
        return;
      }
      connect()
        .then((client) => openChannel(client, to))
        .then(
          (far) => {
            // Each ends the other in order, or breaks it if it breaks.
            pipeline(near, far, () => undefined);
            pipeline(far, near, () => undefined);
          },
          () => near.destroy(),
        );
    });
  });
  server.unref();
  if ("socket" in from) {
    // The run before may have taken it with it.
    makePrivateFolder(from.socket);
    rmSync(from.socket, { force: true });
    process.once("exit", () => {
      removeNearEnd(server, from.socket);
    });
  }
  await new Promise<void>((resolve, reject) => {
    server.once("listening", resolve).once("error", (error: NodeJS.ErrnoException) => {
      const end = "socket" in from ? from.socket : `port ${from.port}`;
      reject(
        error.code === "EADDRINUSE"
          ? new Error(
              `${end} on this computer: is taken, it should be free. Choose another with: pulumi config set tunnelPort 25432`,
            )
          : new Error(`${end} on this computer: cannot be listened on (${error.message}).`),
      );
    });
    if ("socket" in from) server.listen(from.socket);
    else server.listen(from.port, "127.0.0.1");
  });
}

function openChannel(client: Client, socket: string): Promise<ClientChannel> {
  return new Promise((resolve, reject) => {
    client.openssh_forwardOutStreamLocal(socket, (error, channel) => {
      if (error) reject(error);
      else resolve(channel);
    });
  });
}

async function isAnyServed(sockets: string[]): Promise<boolean> {
  return (await Promise.all(sockets.map(isServed))).includes(true);
}

function isServed(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = net.connect(socket);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => {
      resolve(false);
    });
  });
}

/** Before the server is closed its socket is there, and the folder stays while another's is. */
function removeNearEnd(server: net.Server, socket: string): void {
  server.close();
  try {
    rmdirSync(path.dirname(socket));
  } catch {
    // In use.
  }
}

/** The folder is the lock on the door: whoever may enter it commands the machine's Docker engine. */
function makePrivateFolder(socket: string): void {
  const folder = path.dirname(socket);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { uid, mode } = lstatSync(folder);
  if (uid !== process.getuid?.() || (mode & 0o077) !== 0) {
    throw new Error(
      `${folder}: is open to other users of this computer, it should be yours alone. Remove it, then run again.`,
    );
  }
}
