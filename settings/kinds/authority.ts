import { X509Certificate } from "node:crypto";

import type { Fault } from "../reader.ts";
import { onThisStack } from "../on-this-stack.ts";

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** What is wrong with certificates of private authorities; empty is right. Never shows the value, because it may be a private key. */
export function authorityFault(text: string, path: string): Fault | undefined {
  if (text === "") return undefined;
  const isOnlyCertificates = text.replaceAll(CERTIFICATE, "").trim() === "";
  const isReadable = (text.match(CERTIFICATE) ?? []).every((block) => {
    try {
      return new X509Certificate(block).ca;
    } catch {
      return false;
    }
  });
  if (isOnlyCertificates && isReadable) return undefined;
  return {
    sentence: "is not a certificate of an authority, it should be one or more, in PEM.",
    fix: `Set it with: ${onThisStack("config set", `${path} < authority.pem`)}`,
  };
}
