import { randomBytes } from "node:crypto";
import { AsnConvert } from "@peculiar/asn1-schema";
import { Certificate, Extensions, TBSCertificate, Validity, Version } from "@peculiar/asn1-x509";
import type { GeneralName, Name, SubjectPublicKeyInfo } from "@peculiar/asn1-x509";
import type { Failure, Properties, ValuesOf } from "../framework/definition.ts";
import type { PropertyBag } from "../framework/values.ts";
import { checkMinima } from "./checks.ts";
import { alternativeNamesExtensions, basicConstraints, keyIdExtensions, USES, usesExtensions } from "./extensions.ts";
import { toPem } from "./pem.ts";
import { HOUR } from "./renewal.ts";
import { keyIdOf } from "./signer.ts";
import type { Signer } from "./signer.ts";

const flag = { type: "boolean", default: false, replaces: true } as const;

/** The inputs that both types of certificates have. Only `earlyRenewalHours` changes in place. */
export const certificateInputs = {
  allowedUses: { type: "list", items: { type: "string", values: USES }, required: true, replaces: true },
  validityPeriodHours: { type: "integer", required: true, replaces: true },
  earlyRenewalHours: { type: "integer", default: 0 },
  isCaCertificate: flag,
  maxPathLength: { type: "integer", computed: true, replaces: true },
  setSubjectKeyId: flag,
} as const satisfies Properties;

export const certificateOutputs = {
  certPem: { type: "string" },
  readyForRenewal: { type: "boolean", changesOnUpdate: true },
  validityStartTime: { type: "string" },
  validityEndTime: { type: "string" },
} as const satisfies Properties;

type CertificateInputs = ValuesOf<typeof certificateInputs>;

export function checkCertificate(inputs: PropertyBag): Failure[] {
  return checkMinima(inputs, { validityPeriodHours: 0, earlyRenewalHours: 0, maxPathLength: -1 });
}

/** Whose certificate it is, and who signs it. */
export interface Parties {
  subject: Name;
  alternativeNames: GeneralName[];
  publicKey: SubjectPublicKeyInfo;
  issuer: Name;
  signer: Signer;
  /** The id of the issuer's key, if the certificate says it. */
  authorityKeyId: ArrayBuffer | undefined;
}

/** The id of the certificate's key, if the certificate says it. */
export function subjectKeyId(inputs: CertificateInputs, publicKey: SubjectPublicKeyInfo): ArrayBuffer | undefined {
  return inputs.isCaCertificate || inputs.setSubjectKeyId ? keyIdOf(publicKey) : undefined;
}

/** Makes a certificate that is valid from now on. The id is its serial number. */
export function issue(inputs: CertificateInputs, parties: Parties) {
  const { subject, publicKey, issuer, signer } = parties;
  const { isCaCertificate, validityPeriodHours, earlyRenewalHours } = inputs;
  const isNameless = subject.length === 0;
  if (isCaCertificate && isNameless) {
    throw new Error(
      "Invalid Certificate Subject: Must contain at least one Distinguished Name when creating Certificate Authority (CA)",
    );
  }
  const start = new Date();
  const end = new Date(start.getTime() + validityPeriodHours * HOUR);
  const serial = BigInt(`0x${randomBytes(16).toString("hex")}`);
  const tbsCertificate = new TBSCertificate({
    version: Version.v3,
    serialNumber: positive(serial),
    signature: signer.signatureAlgorithm,
    issuer,
    validity: new Validity({ notBefore: start, notAfter: end }),
    subject,
    subjectPublicKeyInfo: publicKey,
    extensions: new Extensions([
      ...usesExtensions(inputs.allowedUses),
      basicConstraints(isCaCertificate, inputs.maxPathLength),
      ...keyIdExtensions(subjectKeyId(inputs, publicKey), parties.authorityKeyId),
      ...alternativeNamesExtensions(parties.alternativeNames, isNameless),
    ]),
  });
  const certificate = new Certificate({
    tbsCertificate,
    signatureAlgorithm: signer.signatureAlgorithm,
    signatureValue: signer.sign(AsnConvert.serialize(tbsCertificate)),
  });
  return {
    id: serial.toString(),
    outputs: {
      certPem: toPem("CERTIFICATE", AsnConvert.serialize(certificate)),
      readyForRenewal: earlyRenewalHours >= validityPeriodHours,
      validityStartTime: start.toISOString(),
      validityEndTime: end.toISOString(),
    },
  };
}

/** DER's bytes of a number that is not negative: a first bit that is set would mean that it is. */
function positive(number: bigint): ArrayBuffer {
  const hex = number.toString(16);
  const bytes = Buffer.from(hex.padStart(hex.length + (hex.length % 2), "0"), "hex");
  return new Uint8Array((bytes[0] ?? 0) >= 0x80 ? [0, ...bytes] : bytes).buffer;
}
