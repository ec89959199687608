import { createHash } from "node:crypto";
import { lstatSync, mkdirSync, rmdirSync, rmSync } from "node:fs";
import net from "node:net";
import path from "node:path";

/** Where on this computer the clients of a run come to. */
export type Place = { socket: string } | { port: number };

/** A place, and who answers there. */
export interface NearEnd {
  at: Place;
  server: net.Server;
}

/** How often a run looks whether the one that serves its near ends has gone. */
const STAND_BY_MS = 100;

/**
 * The path of a socket on this computer that belongs to a machine. Runs that meet at a socket share it, and Docker asks
 * nobody's name: so its folder is called after the machine, which two stacks never have in common, even where they share
 * their name or their port.
 */
export function socketFor(hostKey: string, name: string): string {
  const machine = createHash("sha256").update(hostKey).digest("hex").slice(0, 16);
  return `/tmp/convex-droplet-${machine}/${name}`;
}

/**
 * Listens at the near ends for as long as this process lives. It never keeps the process alive, and leaves nothing behind
 * but, where the process is killed, dead socket files in their folder, which the next run replaces. If another run on this
 * computer serves the same sockets now, that one serves both, and this one takes over when that run ends.
 *
 * @throws Error when a socket's folder belongs to somebody else, or a port is taken
 */
export async function serve(nearEnds: NearEnd[]): Promise<void> {
  const sockets = nearEnds.flatMap(({ at }) => ("socket" in at ? [at.socket] : []));
  // Before anybody looks into it: a socket in somebody else's folder would be served by somebody else.
  sockets.forEach(makePrivateFolder);
  // The ports first. Only one run can have them, so the sockets behind them are that run's to replace.
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
      // Another run that stood by may have been faster.
      if (!served) await listenAll().catch(() => (served = true));
      if (served) standBy(sockets, listenAll);
    });
  }, STAND_BY_MS).unref();
}

async function listen({ at, server }: NearEnd): Promise<void> {
  server.unref();
  server.on("connection", (client: net.Socket) => client.unref());
  if ("socket" in at) {
    // The run before may have taken it with it.
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
              `${end} on this computer: is taken, it should be free. Choose another with: npx pulumi config set tunnelPort 25432`,
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
