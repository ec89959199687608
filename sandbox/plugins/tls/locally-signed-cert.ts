import { AsnConvert } from "@peculiar/asn1-schema";
import {
  BasicConstraints,
  Certificate,
  id_ce_basicConstraints,
  id_ce_subjectKeyIdentifier,
  SubjectKeyIdentifier,
} from "@peculiar/asn1-x509";
import { resource, unsupported } from "../framework/definition.ts";
import { readRequest } from "./cert-request.ts";
import { certificateInputs, certificateOutputs, checkCertificate, issue } from "./certificate.ts";
import { checkPresent } from "./checks.ts";
import { find } from "./extensions.ts";
import { fromPem } from "./pem.ts";
import { diffRenewal, readRenewal, updateRenewal } from "./renewal.ts";
import { attempt, readSigner } from "./signer.ts";
import { nameFromRequest } from "./subject.ts";

/** A certificate for a request, signed by a CA whose key is at hand. */
export const locallySignedCert = resource<undefined>()({
  inputs: {
    certRequestPem: { type: "string", required: true, replaces: true },
    caCertPem: { type: "string", required: true, replaces: true },
    caPrivateKeyPem: { type: "string", secret: true, replaces: true },
    ...certificateInputs,
    ...unsupported("caPrivateKeyPemWo", "caPrivateKeyPemWoVersion"),
  },
  outputs: { ...certificateOutputs, caKeyAlgorithm: { type: "string" } },
  check: (inputs) => [...checkPresent(inputs, "caPrivateKeyPem"), ...checkCertificate(inputs)],
  create: (context, inputs) => {
    const request = attempt("certificate request PEM", () => readRequest(inputs.certRequestPem));
    const signer = readSigner(inputs.caPrivateKeyPem, "CA private key PEM");
    const ca = attempt("CA certificate PEM", () => readAuthority(inputs.caCertPem));
    if (!ca.isCa) context.log("warning", NOT_A_CA);
    if (!isSame(ca.publicKey, signer.publicKey))
      throw new Error("provided PrivateKey doesn't match parent's PublicKey");
    const subject = nameFromRequest(request.name);
    const { id, outputs } = issue(inputs, {
      subject,
      alternativeNames: request.names,
      publicKey: request.publicKey,
      issuer: ca.name,
      signer,
      authorityKeyId: isSame(subject, ca.name) ? undefined : ca.keyId,
    });
    return Promise.resolve({ id, outputs: { ...outputs, caKeyAlgorithm: signer.keyAlgorithm } });
  },
  diff: diffRenewal,
  read: readRenewal,
  update: updateRenewal,
});

const NOT_A_CA =
  "Potentially Invalid Certificate Authority: Certificate provided as Authority does not appear to be a valid Certificate Authority. The resulting certificate might fail certificate validation.";

function readAuthority(pem: string) {
  const { tbsCertificate } = AsnConvert.parse(fromPem("CERTIFICATE", pem), Certificate);
  const extensions = tbsCertificate.extensions ?? [];
  return {
    name: tbsCertificate.subject,
    publicKey: tbsCertificate.subjectPublicKeyInfo,
    isCa: find(extensions, id_ce_basicConstraints, BasicConstraints)?.cA ?? false,
    keyId: find(extensions, id_ce_subjectKeyIdentifier, SubjectKeyIdentifier)?.buffer,
  };
}

function isSame(one: object, other: object): boolean {
  return Buffer.from(AsnConvert.serialize(one)).equals(Buffer.from(AsnConvert.serialize(other)));
}
