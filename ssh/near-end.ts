import { createHash } from "node:crypto";
import { lstatSync, mkdirSync, rmdirSync, rmSync } from "node:fs";
import net from "node:net";
import path from "node:path";

import writeFileAtomic from "write-file-atomic";

import { onThisStack } from "../settings/on-this-stack.ts";

/** An address on this computer to which the clients of a run connect. */
export type Place = { socket: string } | { port: number };

/** An address, and the server that answers there. */
export interface NearEnd {
  at: Place;
  server: net.Server;
}

/** How often a run checks whether the run that serves its local ends has ended. */
const STAND_BY_MS = 100;

/**
 * The path of a machine's socket on this computer. Runs with the same path share the socket, and Docker asks for no password.
 * So the folder's name derives from the machine, which belongs to one stack only, even if two stacks have the same name or port.
 */
export function socketFor(hostKey: string, name: string): string {
  const machine = createHash("sha256").update(hostKey).digest("hex").slice(0, 16);
  return `/tmp/convex-droplet-${machine}/${name}`;
}

/**
 * Writes a file beside a machine's sockets, whose path is the same on every computer, and returns the path. It stays after the run: another
 * one may be reading it. Only for what is no secret.
 *
 * @throws Error if the folder belongs to somebody else
 */
export function fileFor(hostKey: string, name: string, content: string): string {
  const file = socketFor(hostKey, name);
  makePrivateFolder(file);
  writeFileAtomic.sync(file, content, { mode: 0o600 });
  return file;
}

/**
 * Listens at the local ends until this process ends, and never keeps it alive. If the process is killed, it leaves dead socket
 * files in their folder, which the next run replaces; otherwise it leaves nothing. If another run on this computer already serves
 * the same sockets, it serves both runs, and this run takes over when the other one ends.
 *
 * @throws Error if a socket's folder belongs to somebody else, or a port is taken
 */
export async function serve(nearEnds: NearEnd[]): Promise<void> {
  const sockets = nearEnds.flatMap(({ at }) => ("socket" in at ? [at.socket] : []));
  // First, because a socket in somebody else's folder would be served by somebody else.
  sockets.forEach(makePrivateFolder);
  // The ports first: only one run can have them, and only that run may replace the sockets.
  const order = nearEnds.toSorted((one, other) => Number("socket" in one.at) - Number("socket" in other.at));
  const listenAll = async () => {
    for (const nearEnd of order) await listen(nearEnd);
  };
  if (await isAnyServed(sockets)) standBy(sockets, listenAll);
  else await listenAll();
}

function standBy(sockets: string[], listenAll: () => Promise<void>): void {
  setTimeout(() => {
    void isAnyServed(sockets).then(async (served) => {
      // Another waiting run may have been faster.
      if (!served) await listenAll().catch(() => (served = true));
      if (served) standBy(sockets, listenAll);
    });
  }, STAND_BY_MS).unref();
}

async function listen({ at, server }: NearEnd): Promise<void> {
  server.unref();
  server.on("connection", (client: net.Socket) => client.unref());
  if ("socket" in at) {
    // The run before may have removed it.
    makePrivateFolder(at.socket);
    rmSync(at.socket, { force: true });
    process.once("exit", () => {
      removeNearEnd(server, at.socket);
    });
  }
  await new Promise<void>((resolve, reject) => {
    server.once("listening", resolve).once("error", (error: NodeJS.ErrnoException) => {
      const end = "socket" in at ? at.socket : `port ${at.port}`;
      reject(
        error.code === "EADDRINUSE"
          ? new Error(
              `${end} on this computer: is taken, it should be free. Choose another port with: ${onThisStack("config set", "tunnelPort 25432")}`,
            )
          : new Error(`${end} on this computer: cannot be listened on (${error.message}).`),
      );
    });
    if ("socket" in at) server.listen(at.socket);
    else server.listen(at.port, "127.0.0.1");
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

/** Closing the server removes its socket. The folder stays if it contains another socket. */
function removeNearEnd(server: net.Server, socket: string): void {
  server.close();
  try {
    rmdirSync(path.dirname(socket));
  } catch {
    // In use.
  }
}

/** The folder is the only protection: its sockets give full access to the machine's Docker engine. */
function makePrivateFolder(socket: string): void {
  const folder = path.dirname(socket);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { uid, mode } = lstatSync(folder);
  if (uid !== process.getuid?.() || (mode & 0o077) !== 0) {
    throw new Error(
      `${folder}: is open to other users of this computer, it should be only yours. Remove it, then run again.`,
    );
  }
}
