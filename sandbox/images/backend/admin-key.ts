import { createHmac, randomBytes } from "node:crypto";
import { gcmsiv } from "@noble/ciphers/aes.js";
import { xsalsa20poly1305 } from "@noble/ciphers/salsa.js";
import { BinaryReader, BinaryWriter } from "google-protobuf";

/** The contents of an admin key. */
export interface AdminKeyClaims {
  /** Only in keys of the legacy format; new ones have the name before the `|`. */
  instanceName?: string;
  /** Unix time in seconds. Keys never expire, but a key without it is invalid. */
  issuedSeconds: number;
  identity: { kind: "member"; memberId: number } | { kind: "system" };
  isReadOnly: boolean;
}

const VERSION = 1;
const NONCE_BYTES = 12;
const LEGACY_NONCE_BYTES = 24;

/**
 * Decodes `INSTANCE_SECRET`.
 *
 * @throws Error with the text of the real backend
 */
export function instanceSecret(hex: string): Uint8Array {
  const secret = decodeHex(hex);
  if (!secret) throw new Error("Couldn't hexdecode key");
  if (secret.length !== 32) throw new Error(`Hex-decoded key was ${secret.length} bytes, not 32`);
  return secret;
}

/** SP 800-108r1 section 4.1 in counter mode with HMAC-SHA256, one block, cut to 128 bits for AES-128. */
export function deriveKey(secret: Uint8Array, purpose: string | Uint8Array): Uint8Array {
  const counter = Uint8Array.of(0, 0, 0, 1);
  return createHmac("sha256", secret).update(counter).update(purpose).digest().subarray(0, 16);
}

/** Makes a key, `<instance name>|<hex>`. Any nonce is valid; by default, each call gives another key. */
export function mintAdminKey(
  instanceName: string,
  secret: Uint8Array,
  claims: AdminKeyClaims,
  nonce: Uint8Array = randomBytes(NONCE_BYTES),
): string {
  const sealed = adminKeyCipher(secret, nonce).encrypt(encodeClaims(claims));
  return `${instanceName}|${Buffer.concat([Uint8Array.of(VERSION), nonce, sealed]).toString("hex")}`;
}

/** @throws Error if the key was not made for this instance from this secret */
export function readAdminKey(key: string, instanceName: string, secret: Uint8Array): AdminKeyClaims {
  const bar = key.indexOf("|");
  const bytes = decodeHex(key.slice(bar + 1));
  if (!bytes || bytes[0] !== VERSION) throw new Error("Key is not of version 1");
  const claims = decodeClaims(decrypt(bytes.subarray(1), secret));
  // `prod:name|...` is a key for `name`.
  const name = bar < 0 ? claims.instanceName : key.slice(0, bar).replace(/^[^:]*:/, "");
  if (name !== instanceName) throw new Error(`Key is for invalid instance ${name ?? ""}`);
  return claims;
}

function decrypt(sealed: Uint8Array, secret: Uint8Array): Uint8Array {
  try {
    const nonce = sealed.subarray(0, NONCE_BYTES);
    return adminKeyCipher(secret, nonce).decrypt(sealed.subarray(NONCE_BYTES));
  } catch {
    // Keys from before June 2025: libsodium's secretbox under the secret itself.
    const nonce = sealed.subarray(0, LEGACY_NONCE_BYTES);
    return xsalsa20poly1305(secret, nonce).decrypt(sealed.subarray(LEGACY_NONCE_BYTES));
  }
}

function adminKeyCipher(secret: Uint8Array, nonce: Uint8Array) {
  return gcmsiv(deriveKey(secret, "admin key"), nonce, Uint8Array.of(VERSION));
}

function encodeClaims(claims: AdminKeyClaims): Uint8Array {
  const writer = new BinaryWriter();
  if (claims.instanceName !== undefined) writer.writeString(1, claims.instanceName);
  writer.writeUint64(2, claims.issuedSeconds);
  if (claims.identity.kind === "member") writer.writeUint64(3, claims.identity.memberId);
  else writer.writeBytes(4, new Uint8Array());
  if (claims.isReadOnly) writer.writeBool(5, true);
  return writer.getResultBuffer();
}

function decodeClaims(plaintext: Uint8Array): AdminKeyClaims {
  const claims: Partial<AdminKeyClaims> = {};
  const reader = new BinaryReader(plaintext);
  while (reader.nextField()) {
    switch (reader.getFieldNumber()) {
      case 1:
        claims.instanceName = reader.readString();
        break;
      case 2:
        claims.issuedSeconds = reader.readUint64();
        break;
      case 3:
        claims.identity = { kind: "member", memberId: reader.readUint64() };
        break;
      case 4:
        reader.skipField();
        claims.identity = { kind: "system" };
        break;
      case 5:
        claims.isReadOnly = reader.readBool();
        break;
      default:
        reader.skipField();
    }
  }
  const { issuedSeconds, identity, isReadOnly = false } = claims;
  if (!issuedSeconds) throw new Error("Proto missing issued_s");
  if (!identity) throw new Error("Proto missing identity");
  return { ...claims, issuedSeconds, identity, isReadOnly };
}

function decodeHex(hex: string): Uint8Array | undefined {
  return /^([0-9a-f]{2})*$/i.test(hex) ? Buffer.from(hex, "hex") : undefined;
}
