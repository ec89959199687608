import { createHash, generateKeyPair } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { promisify } from "node:util";
import sshpk from "sshpk";
import { resource } from "../framework/definition.ts";

const CURVES = { P224: "P-224", P256: "P-256", P384: "P-384", P521: "P-521" } as const;

/** A key pair in the formats of TLS and OpenSSH; every change of an input makes a new one. */
export const privateKey = resource<undefined>()({
  inputs: {
    algorithm: { type: "string", values: ["RSA", "ECDSA", "ED25519"], required: true, replaces: true },
    rsaBits: { type: "integer", default: 2048, replaces: true },
    ecdsaCurve: { type: "string", values: ["P224", "P256", "P384", "P521"], default: "P224", replaces: true },
  },
  outputs: {
    privateKeyPem: { type: "string", secret: true },
    privateKeyPemPkcs8: { type: "string", secret: true },
    privateKeyOpenssh: { type: "string", secret: true },
    publicKeyPem: { type: "string" },
    publicKeyOpenssh: { type: "string" },
    publicKeyFingerprintMd5: { type: "string" },
    publicKeyFingerprintSha256: { type: "string" },
  },
  create: async (_context, { algorithm, rsaBits, ecdsaCurve }) => {
    const pair = await generate(algorithm, rsaBits, CURVES[ecdsaCurve]);
    const pkcs8 = pair.privateKey.export({ type: "pkcs8", format: "pem" }) as string;
    const der = pair.publicKey.export({ type: "spki", format: "der" });
    return {
      id: createHash("sha1").update(der).digest("hex"),
      outputs: {
        privateKeyPem: traditionalPem(pair.privateKey, algorithm),
        privateKeyPemPkcs8: pkcs8,
        publicKeyPem: pair.publicKey.export({ type: "spki", format: "pem" }) as string,
        // OpenSSH does not know P224; in the official plugin, these are empty too.
        ...(algorithm === "ECDSA" && ecdsaCurve === "P224" ? NO_OPENSSH : openssh(pkcs8)),
      },
    };
  },
});

function generate(algorithm: "RSA" | "ECDSA" | "ED25519", modulusLength: number, namedCurve: string) {
  switch (algorithm) {
    case "RSA":
      return promisify(generateKeyPair)("rsa", { modulusLength });
    case "ECDSA":
      return promisify(generateKeyPair)("ec", { namedCurve });
    case "ED25519":
      return promisify(generateKeyPair)("ed25519", {});
  }
}

/** The older PEM format, if the algorithm has one. */
function traditionalPem(key: KeyObject, algorithm: "RSA" | "ECDSA" | "ED25519"): string {
  const type = { RSA: "pkcs1", ECDSA: "sec1", ED25519: "pkcs8" } as const;
  return key.export({ type: type[algorithm], format: "pem" }) as string;
}

function openssh(pkcs8: string): Record<keyof typeof NO_OPENSSH, string> {
  const key = sshpk.parsePrivateKey(pkcs8, "pkcs8");
  key.comment = "";
  return {
    privateKeyOpenssh: key.toString("openssh"),
    // Without a comment, sshpk still writes the blank before it.
    publicKeyOpenssh: `${key.toPublic().toString("ssh").trim()}\n`,
    publicKeyFingerprintMd5: key.fingerprint("md5").toString("hex"),
    publicKeyFingerprintSha256: key.fingerprint("sha256").toString(),
  };
}

const NO_OPENSSH = {
  privateKeyOpenssh: "",
  publicKeyOpenssh: "",
  publicKeyFingerprintMd5: "",
  publicKeyFingerprintSha256: "",
};
