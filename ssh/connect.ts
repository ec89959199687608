import net from "node:net";

import { Client } from "ssh2";

import { isHostKey } from "./host-key.ts";

/** A machine and the keys at both ends: nothing is ever sent to one that cannot prove the host key. */
export interface Target {
  host: string;
  /** Where SSH answers; 22 unless told. */
  port?: number;
  /** OpenSSH private key of root. */
  privateKey: string;
  /** The host's public key, `ssh-ed25519 AAAA…`. */
  hostKey: string;
}

/** A machine that does not answer, or is another one. */
export class UnreachableError extends Error {
  /**
   * What is there: nothing that answers, something that refused, as a machine does whose SSH is not up yet, or another machine.
   */
  readonly found: "nothing" | "refusal" | "stranger";

  constructor(message: string, found: "nothing" | "refusal" | "stranger") {
    super(message);
    this.found = found;
  }
}

/** Of the kernel, and of an SSH server that is only just coming up or going down. */
const REFUSALS = /ECONNREFUSED|ECONNRESET|before handshake/;

/**
 * Connects as root.
 *
 * @param background  whether the connection lets the process end while it is open
 * @throws UnreachableError when the machine cannot be reached, or is not the one that the host key belongs to
 */
export async function dial({ host, port = 22, privateKey, hostKey }: Target, background = false): Promise<Client> {
  const client = new Client();
  const sock = net.connect({ host, port, noDelay: true, keepAlive: true });
  if (background) sock.unref();
  let stranger = false;
  await new Promise<void>((resolve, reject) => {
    client.once("ready", resolve).once("error", (error: Error) => {
      reject(
        new UnreachableError(
          stranger
            ? `${host}: answers with another host key than this stack's, so nothing was sent to it. Whoever is there now, it is not the droplet that this program made.`
            : `${host}: cannot be reached over SSH (${error.message}). See that adminCidrs holds this computer's address, and that the droplet runs.`,
          stranger ? "stranger" : REFUSALS.test(error.message) ? "refusal" : "nothing",
        ),
      );
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
  // From here on a broken connection shows itself to its clients as a closed socket.
  client.on("error", () => undefined);
  return client;
}
