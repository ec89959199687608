import { createHash } from "node:crypto";

import { Client, type ConnectConfig } from "ssh2";

/** A machine that this program did not create. */
export interface Stranger {
  host: string;
  /** 22 by default. */
  port?: number | undefined;
  user: string;
  /** The host key's fingerprint as OpenSSH prints it, `SHA256:…`. */
  fingerprint: string | undefined;
  /** OpenSSH private key. */
  privateKey?: Buffer | undefined;
  /** Socket of an SSH agent. */
  agent?: string | undefined;
}

/** The machine's host key is not the expected one, or none was expected. */
export class UnconfirmedError extends Error {
  /** What the machine presented. */
  readonly fingerprint: string;

  constructor(message: string, fingerprint: string) {
    super(message);
    this.fingerprint = fingerprint;
  }
}

/**
 * Connects to a machine whose host key has this fingerprint. Nothing is sent to another.
 *
 * @throws UnconfirmedError if it has another host key, or no fingerprint is given
 * @throws Error if it does not answer, or refuses the user
 */
export async function dialPinned({ host, port = 22, user, fingerprint, privateKey, agent }: Stranger): Promise<Client> {
  const client = new Client();
  let presented = "";
  const config: ConnectConfig = {
    ...{ host, port, username: user, readyTimeout: 30_000, keepaliveInterval: 15_000 },
    ...(privateKey === undefined ? {} : { privateKey }),
    ...(agent === undefined ? {} : { agent }),
    hostVerifier: (key: Buffer) => {
      presented = `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`;
      return presented === fingerprint;
    },
  };
  await new Promise<void>((resolve, reject) => {
    const fail = (error: Error) => {
      reject(
        presented !== "" && presented !== fingerprint
          ? new UnconfirmedError(`${host}: has the host key ${presented}`, presented)
          : new Error(`${user}@${host}: cannot be reached over SSH (${error.message})`),
      );
    };
    client.once("ready", resolve).once("error", fail);
    // During the handshake, it closes without an error.
    client.once("close", () => {
      fail(new Error("the connection was closed"));
    });
    client.connect(config);
  });
  // From now on, a broken connection ends its commands.
  client.on("error", () => undefined);
  return client;
}
