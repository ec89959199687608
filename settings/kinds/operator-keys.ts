import { stackFile } from "../reader.ts";
import type { Fault, Reader } from "../reader.ts";
import { onThisStack } from "../on-this-stack.ts";

/**
 * By type of key that sshd accepts: the fields after the type's name. Checked here, because the SSH libraries do not know the
 * keys of security tokens (sk-…).
 */
const FIELDS: Record<string, ((field: Buffer) => boolean)[]> = {
  "ssh-ed25519": [ofLength(32)],
  // Exponent and modulus. sshd refuses RSA keys with fewer than 1024 bits.
  "ssh-rsa": [anything, (modulus) => modulus.length >= 128],
  "ecdsa-sha2-nistp256": [exactly("nistp256"), ofLength(65)],
  "ecdsa-sha2-nistp384": [exactly("nistp384"), ofLength(97)],
  "ecdsa-sha2-nistp521": [exactly("nistp521"), ofLength(133)],
  "sk-ssh-ed25519@openssh.com": [ofLength(32), anything],
  "sk-ecdsa-sha2-nistp256@openssh.com": [exactly("nistp256"), ofLength(65), anything],
};

const EXAMPLE = "'ssh-ed25519 AAAA… me@laptop'";

/** A list of OpenSSH public keys, each as the line that ssh-keygen writes. */
export function readOperatorKeys(read: Reader, key: string): string[] {
  return read.list(key, publicKeyFault, `OpenSSH public keys such as ${EXAMPLE}`, fixOf(`${key}[0]`)) ?? [];
}

/** What is wrong with a public key. The message never shows it, because it may be a private key, or half of one. */
function publicKeyFault(entry: string, path: string): Fault | undefined {
  const fault = (is: string) => ({
    sentence: `${is}, it should be one public key such as ${EXAMPLE}.`,
    fix: fixOf(path),
  });
  if (entry.includes("PRIVATE KEY")) {
    return {
      sentence: "is a private key, it should be the public one, from the file that ends in .pub.",
      fix: `Make a new pair with ssh-keygen, because this one is unprotected in ${stackFile()}. ${fixOf(path)}`,
    };
  }
  if (entry.includes("\n")) return fault("is more than one line");
  const [type = "", blob = "", ...comment] = entry.split(" ");
  if (type === "ssh-dss") return fault("is a DSA key, which sshd no longer accepts");
  const fields = FIELDS[type];
  if (fields === undefined) {
    // Options before the type, such as from="…" or no-pty.
    return fault(/ (ssh|ecdsa|sk)-\S+ AAAA/.test(entry) ? "has options before the key" : `${shown(type)}is not valid`);
  }
  if (comment.some((word) => word in FIELDS)) return fault("is two keys");
  const [name, ...values] = fieldsOf(Buffer.from(blob, "base64"));
  const isWhole =
    // Node ignores characters that are not base64.
    Buffer.from(blob, "base64").toString("base64") === blob &&
    name?.toString() === type &&
    values.length === fields.length &&
    fields.every((isValid, index) => isValid(values[index] ?? Buffer.alloc(0)));
  return isWhole ? undefined : fault(`${shown(type)}is cut off, changed or of another type`);
}

function fixOf(path: string): string {
  return `Set it with: ${onThisStack("config set", `--path '${path}' < ~/.ssh/id_ed25519.pub`)}`;
}

/** The first word of an entry, unless it may be part of a key. */
function shown(word: string): string {
  return word in FIELDS ? `"${word} …" ` : word.length <= 8 ? `"${word}" ` : "";
}

/** The strings of a blob, which has the length before each; none if the last one is incomplete. */
function fieldsOf(blob: Buffer): Buffer[] {
  const fields: Buffer[] = [];
  let at = 0;
  while (at + 4 <= blob.length) {
    const end = at + 4 + blob.readUInt32BE(at);
    fields.push(blob.subarray(at + 4, end));
    at = end;
  }
  return at === blob.length ? fields : [];
}

function ofLength(length: number): (field: Buffer) => boolean {
  return (field) => field.length === length;
}

function exactly(expected: string): (field: Buffer) => boolean {
  return (field) => field.toString() === expected;
}

function anything(): boolean {
  return true;
}
