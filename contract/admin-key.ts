import { createHmac } from "node:crypto";

import { gcmsiv } from "@noble/ciphers/aes.js";

const VERSION = 1;
const NONCE_BYTES = 12;

/**
 * A key's issue time. The backend accepts any time except zero, and keys never expire. With a constant, the key depends only
 * on secret and name: it is the same in every run, on every computer, and after a replacement of the droplet.
 */
const ISSUED_AT_SECONDS = 1_735_689_600n; // 2025-01-01T00:00:00Z

/** A key's rights. */
export interface AdminKeyRights {
  /** Whether the key may read everything and change nothing; false by default. */
  readOnly?: boolean;
}

/**
 * Makes the admin key that a Convex backend with this name and secret accepts: `<name>|<74 hexadecimal digits>`, or 78 digits
 * if it is read-only.
 *
 * The format is the backend's own: a 128-bit key derived from the secret (SP 800-108 counter mode over HMAC-SHA-256,
 * label "admin key"), then AES-GCM-SIV over a protobuf of issue time, member 0 and rights. The nonce is derived, too. GCM-SIV
 * is safe with a repeated nonce, and here the same nonce is always used with the same plaintext.
 *
 * @param secret INSTANCE_SECRET, 64 hexadecimal digits
 * @throws Error if the secret is not 32 bytes of hexadecimal
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
 * The read-only key of a backend that has accepted this admin key. Undefined if the accepted key was not made here: then the
 * backend's own tool made it, in another format, and that tool cannot make read-only keys.
 */
export function readOnlyKeyBeside(accepted: string, instanceName: string, secret: string): string | undefined {
  if (accepted !== mintAdminKey(instanceName, secret)) return undefined;
  return mintAdminKey(instanceName, secret, { readOnly: true });
}

/** The format itself, with nonce and issue time as parameters for the published test vectors; {@link mintAdminKey} fixes them. */
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

/** SP 800-108r1 §4.1 with a leading 32-bit counter, without separator and length: 128 bits need only one block. */
function deriveKey(secret: Buffer): Buffer {
  return hmac(secret, Buffer.concat([Buffer.from([0, 0, 0, 1]), Buffer.from("admin key")])).subarray(0, 16);
}

/**
 * Protobuf: field 2 (varint) is the issue time, field 3 (varint) is member 0, which the backend's own tool also writes, and
 * field 5 (bool) exists only if the key is read-only.
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
