import net from "node:net";

import { Client } from "ssh2";

import { isHostKey } from "./host-key.ts";

/** A machine and the keys of both ends. Nothing is sent to a machine that cannot prove its host key. */
export interface Target {
  host: string;
  /** SSH's port; 22 by default. */
  port?: number;
  /** OpenSSH private key of root. */
  privateKey: string;
  /** The host's public key, `ssh-ed25519 AAAA…`. */
  hostKey: string;
}

/** The machine does not answer, or another machine does. */
export class UnreachableError extends Error {
  /** Nothing answered, something refused, as a machine does before its SSH has started, or another machine answered. */
  readonly found: "nothing" | "refusal" | "stranger";

  constructor(message: string, found: "nothing" | "refusal" | "stranger") {
    super(message);
    this.found = found;
  }
}

/**
 * After so long without a word, the kernel asks whether the machine is still there, and gives up ten seconds later. A machine that
 * loses power does not close its connections, and without this delay, the kernel asks only after two hours.
 */
const PROBE_MILLISECONDS = 15_000;

/** From the kernel, and from an SSH server that starts or stops. */
const REFUSALS = /ECONNREFUSED|ECONNRESET|before handshake|was closed/;

/**
 * Connects as root.
 *
 * @param background  whether the process can end while the connection is open
 * @throws UnreachableError if the machine cannot be reached, or has another host key
 */
export async function dial({ host, port = 22, privateKey, hostKey }: Target, background = false): Promise<Client> {
  const client = new Client();
  const sock = net.connect({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: PROBE_MILLISECONDS });
  if (background) sock.unref();
  let stranger = false;
  await new Promise<void>((resolve, reject) => {
    const fail = (error: Error) => {
      reject(
        new UnreachableError(
          stranger
            ? `${host}: answers with another host key than this stack's, so nothing was sent to it. It is not the droplet that this program created.`
            : `${host}: cannot be reached over SSH (${error.message}). Check that adminCidrs contains this computer's address, and that the droplet runs.`,
          stranger ? "stranger" : REFUSALS.test(error.message) ? "refusal" : "nothing",
        ),
      );
    };
    client.once("ready", resolve).once("error", fail);
    // During the handshake, it closes without an error. Without an end of this promise, the process would end well.
    client.once("close", () => {
      fail(new Error("the connection was closed"));
    });
    client.connect({
      sock,
      username: "root",
      privateKey,
      readyTimeout: 30_000,
      algorithms: { serverHostKey: ["ssh-ed25519"] },
      hostVerifier: (presented: Buffer) => !(stranger = !isHostKey(presented, hostKey)),
    });
  });
  // From now on, clients see a broken connection as a closed socket.
  client.on("error", () => undefined);
  return client;
}
