import { lstatSync, mkdirSync, rmSync } from "node:fs";
import net from "node:net";
import path from "node:path";

import { Client, type ClientChannel } from "ssh2";

import { isHostKey } from "./host-key.ts";

/** A machine and the keys at both ends: nothing is ever sent to one that cannot prove the host key. */
export interface Target {
  host: string;
  /** OpenSSH private key of root. */
  privateKey: string;
  /** The host's public key, `ssh-ed25519 AAAA…`. */
  hostKey: string;
}

/** One end on this computer, the other a Unix socket on the machine. */
export interface Forward {
  from: { socket: string } | { port: number };
  to: string;
}

/**
 * Listens at the near ends for as long as this process lives, and forwards what arrives over one SSH connection. That
 * connection is made when the first client comes and not before: a run that has nothing to ask costs no round trip, and
 * a preview, where the target may never become known, just listens.
 *
 * It never keeps the process alive, and leaves nothing behind when the process is killed but a dead socket file, which
 * the next run replaces. If another run on this computer serves the same sockets now, its tunnel serves both.
 *
 * @throws Error when a socket's folder belongs to somebody else, or a port is taken
 */
export async function openTunnel(target: Promise<Target>, forwards: Forward[]): Promise<void> {
  const connect = once(target);
  const sockets = forwards.flatMap(({ from }) => ("socket" in from ? [from.socket] : []));
  if ((await Promise.all(sockets.map(isServed))).includes(true)) return;
  await Promise.all(forwards.map((forward) => listen(forward, connect)));
}

/** One connection for all clients, made again if it has broken since. */
function once(target: Promise<Target>): () => Promise<Client> {
  let current: Promise<Client> | undefined;
  return () => {
    current ??= target.then(dial).then((client) => {
      client.once("close", () => (current = undefined));
      return client;
    });
    current.catch(() => (current = undefined));
    return current;
  };
}

async function dial({ host, privateKey, hostKey }: Target): Promise<Client> {
  const client = new Client();
  const sock = net.connect({ host, port: 22, noDelay: true });
  sock.unref();
  await new Promise<void>((resolve, reject) => {
    client.once("ready", resolve).once("error", reject);
    client.connect({
      sock,
      username: "root",
      privateKey,
      readyTimeout: 30_000,
      algorithms: { serverHostKey: ["ssh-ed25519"] },
      hostVerifier: (presented: Buffer) => isHostKey(presented, hostKey),
    });
  });
  // From here on a broken connection shows itself to its clients as a closed socket.
  client.on("error", () => undefined);
  return client;
}

async function listen({ from, to }: Forward, connect: () => Promise<Client>): Promise<void> {
  const server = net.createServer((near) => {
    near.unref();
    near.on("error", () => near.destroy());
    connect()
      .then((client) => openChannel(client, to))
      .then(
        (far) => {
          near.pipe(far).pipe(near);
          far.on("close", () => near.destroy());
          near.on("close", () => far.destroy());
        },
        () => near.destroy(),
      );
  });
  server.unref();
  if ("socket" in from) makePrivateFolder(from.socket);
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
  rmSync(socket, { force: true });
}
