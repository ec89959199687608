import { createHash, createPublicKey } from "node:crypto";

/**
 * The private key as Convex Auth's own setup writes it: PKCS#8 with spaces instead of line breaks. Convex Auth reads both
 * forms. On one line, the key also survives `convex env list` and copying by hand.
 */
export function jwtPrivateKey(pkcs8Pem: string): string {
  return pkcs8Pem.trim().replaceAll("\n", " ");
}

/**
 * The public key as a JSON Web Key Set, for those who check the tokens. Its `kid` is the key's thumbprint (RFC 7638), so it
 * changes only with the key.
 */
export function jwks(publicKeyPem: string): string {
  const { kty, n, e } = createPublicKey(publicKeyPem).export({ format: "jwk" });
  const kid = createHash("sha256").update(JSON.stringify({ e, kty, n })).digest("base64url");
  return JSON.stringify({ keys: [{ use: "sig", alg: "RS256", kid, kty, n, e }] });
}
