import { createHmac } from "node:crypto";

import { gcmsiv } from "@noble/ciphers/aes.js";

const VERSION = 1;
const NONCE_BYTES = 12;

/**
 * When a key says it was issued. The backend accepts any time but zero and never lets a key expire, so a constant makes
 * the key a pure function of secret and name: the same on every run, on every computer, and after a replaced droplet.
 */
const ISSUED_AT_SECONDS = 1_735_689_600n; // 2025-01-01T00:00:00Z

/** What a key lets its bearer do. */
export interface AdminKeyRights {
  /** Whether the key may look at everything and change nothing; false by default. */
  readOnly?: boolean;
}

/**
 * Mints the admin key a Convex backend of this name and secret accepts: `<name>|<74 hexadecimal digits>`, or 78 where it
 * is read-only.
 *
 * The format is the backend's own: a 128-bit key derived from the secret (SP 800-108 counter mode over HMAC-SHA-256,
 * label "admin key"), then AES-GCM-SIV over a protobuf of issue time, member 0 and rights. The nonce is derived too; GCM-SIV
 * is made to be safe with one that repeats, and here the same nonce always meets the same plaintext.
 *
 * @param secret INSTANCE_SECRET, 64 hexadecimal digits
 * @throws Error when the secret is not 32 bytes of hexadecimal
 */
export function mintAdminKey(instanceName: string, secret: string, rights: AdminKeyRights = {}): string {
  if (!/^[0-9a-f]{64}$/i.test(secret)) throw new Error("INSTANCE_SECRET: should be 64 hexadecimal digits");
  const secretBytes = Buffer.from(secret, "hex");
  const purpose =
    rights.readOnly === true ? "convex-droplet read-only admin key nonce" : "convex-droplet admin key nonce";
  const nonce = hmac(secretBytes, Buffer.from(purpose)).subarray(0, NONCE_BYTES);
  return sealAdminKey(instanceName, secretBytes, nonce, ISSUED_AT_SECONDS, rights);
}

/**
 * The key to read with that a backend takes beside the key that it has accepted. Undefined where that is not the one minted
 * here: then its own tool made it, the format is another one, and the tool makes none to read with.
 */
export function readOnlyKeyBeside(accepted: string, instanceName: string, secret: string): string | undefined {
  if (accepted !== mintAdminKey(instanceName, secret)) return undefined;
  return mintAdminKey(instanceName, secret, { readOnly: true });
}

/** The format itself, with the two values that {@link mintAdminKey} fixes left open, for the published test vectors. */
export function sealAdminKey(
  instanceName: string,
  secret: Buffer,
  nonce: Buffer,
  issuedAtSeconds: bigint,
  rights: AdminKeyRights = {},
): string {
  const version = Buffer.from([VERSION]);
  const sealed = gcmsiv(deriveKey(secret), nonce, version).encrypt(claims(issuedAtSeconds, rights));
  return `${instanceName}|${Buffer.concat([version, nonce, sealed]).toString("hex")}`;
}

/** SP 800-108r1 §4.1 with a leading 32-bit counter, no separator and no length: one block is all that 128 bits need. */
function deriveKey(secret: Buffer): Buffer {
  return hmac(secret, Buffer.concat([Buffer.from([0, 0, 0, 1]), Buffer.from("admin key")])).subarray(0, 16);
}

/**
 * Protobuf: field 2 (varint) the issue time, field 3 (varint) member 0, which the backend's own tool writes though it is 0,
 * and field 5 (bool) only where the key is read-only.
 */
function claims(issuedAtSeconds: bigint, { readOnly = false }: AdminKeyRights): Buffer {
  return Buffer.from([0x10, ...varint(issuedAtSeconds), 0x18, 0x00, ...(readOnly ? [0x28, 0x01] : [])]);
}

function varint(value: bigint): number[] {
  return value < 0x80n ? [Number(value)] : [Number(value & 0x7fn) | 0x80, ...varint(value >> 7n)];
}

function hmac(key: Buffer, data: Buffer): Buffer {
  return createHmac("sha256", key).update(data).digest();
}
