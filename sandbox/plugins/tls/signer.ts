import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { AsnConvert } from "@peculiar/asn1-schema";
import { AlgorithmIdentifier, SubjectPublicKeyInfo } from "@peculiar/asn1-x509";
import { failed } from "../framework/errors.ts";

/** A private key that signs certificates and requests. */
export interface Signer {
  /** As the input `algorithm` of PrivateKey. */
  keyAlgorithm: "RSA" | "ECDSA" | "ED25519";
  signatureAlgorithm: AlgorithmIdentifier;
  publicKey: SubjectPublicKeyInfo;
  sign: (bytes: ArrayBuffer) => ArrayBuffer;
}

/** Reads a private key in PEM; `what` names it in the error. */
export function readSigner(pem: string | undefined, what: string): Signer {
  const key = attempt(what, () => createPrivateKey(pem ?? ""));
  const { keyAlgorithm, oid, hash } = attempt(what, () => schemeOf(key));
  return {
    keyAlgorithm,
    // Only RSA's identifier has parameters, and they are null.
    signatureAlgorithm: new AlgorithmIdentifier({
      algorithm: oid,
      ...(keyAlgorithm === "RSA" && { parameters: null }),
    }),
    publicKey: AsnConvert.parse(createPublicKey(key).export({ type: "spki", format: "der" }), SubjectPublicKeyInfo),
    sign: (bytes) => new Uint8Array(sign(hash, Buffer.from(bytes), key)).buffer,
  };
}

/** SHA-1 of the public key. Like the official plugin, it wraps an Ed25519 key into an OCTET STRING first. */
export function keyIdOf({ algorithm, subjectPublicKey }: SubjectPublicKeyInfo): ArrayBuffer {
  const hash = createHash("sha1");
  if (algorithm.algorithm === ED25519) hash.update(Buffer.from([0x04, subjectPublicKey.byteLength]));
  return new Uint8Array(hash.update(Buffer.from(subjectPublicKey)).digest()).buffer;
}

/** Runs `work`; a failure names what could not be parsed. */
export function attempt<Result>(what: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    return failed(`Failed to parse ${what}`)(error);
  }
}

const ED25519 = "1.3.101.112";
const ECDSA_SHA256 = { oid: "1.2.840.10045.4.3.2", hash: "sha256" };
const ECDSA_BY_CURVE: Record<string, { oid: string; hash: string }> = {
  secp224r1: ECDSA_SHA256,
  prime256v1: ECDSA_SHA256,
  secp384r1: { oid: "1.2.840.10045.4.3.3", hash: "sha384" },
  secp521r1: { oid: "1.2.840.10045.4.3.4", hash: "sha512" },
};

function schemeOf(key: KeyObject): { keyAlgorithm: Signer["keyAlgorithm"]; oid: string; hash: string | null } {
  const curve = ECDSA_BY_CURVE[key.asymmetricKeyDetails?.namedCurve ?? ""];
  if (curve) return { keyAlgorithm: "ECDSA", ...curve };
  switch (key.asymmetricKeyType) {
    case "rsa":
      return { keyAlgorithm: "RSA", oid: "1.2.840.113549.1.1.11", hash: "sha256" };
    case "ed25519":
      return { keyAlgorithm: "ED25519", oid: ED25519, hash: null };
    default:
      throw new Error(`unsupported private key type: ${key.asymmetricKeyType ?? "none"}`);
  }
}
