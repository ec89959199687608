import ssh2 from "ssh2";
import type { ServerHostKeyAlgorithm } from "ssh2";

/** Reads a public key in the format of `authorized_keys`: optional options, type, base64, optional comment. */
export function parseHostKey(line: string): { algorithm: ServerHostKeyAlgorithm; blob: Buffer } {
  const key = ssh2.utils.parseKey(line.trim());
  if (key instanceof Error || key.isPrivateKey()) {
    throw new Error(
      "connection.hostKey: is not a public key, it must be a line like `ssh-ed25519 AAAA…`, as in authorized_keys.",
    );
  }
  // Only this type: with another type of key, the client could not check that it is the right host.
  return { algorithm: key.type, blob: key.getPublicSSH() };
}
