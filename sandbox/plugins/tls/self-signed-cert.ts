import { resource, unsupported } from "../framework/definition.ts";
import { certificateInputs, certificateOutputs, checkCertificate, issue, subjectKeyId } from "./certificate.ts";
import { checkNoneEmpty, checkPresent } from "./checks.ts";
import { diffRenewal, readRenewal, updateRenewal } from "./renewal.ts";
import { readSigner } from "./signer.ts";
import { alternativeNames, nameFrom, subjectInputs } from "./subject.ts";

/** A certificate that its own key signs, such as that of a private CA. */
export const selfSignedCert = resource<undefined>()({
  inputs: {
    privateKeyPem: { type: "string", secret: true, replaces: true },
    ...subjectInputs,
    ...certificateInputs,
    setAuthorityKeyId: { type: "boolean", default: false, replaces: true },
    ...unsupported("privateKeyPemWo", "privateKeyPemWoVersion"),
  },
  outputs: { ...certificateOutputs, keyAlgorithm: { type: "string" } },
  check: (inputs) => [
    ...checkPresent(inputs, "privateKeyPem"),
    ...checkNoneEmpty(inputs, "ipAddresses", "uris"),
    ...checkCertificate(inputs),
  ],
  create: (_context, inputs) => {
    const signer = readSigner(inputs.privateKeyPem, "private key PEM");
    const subject = nameFrom(inputs.subject);
    const authorityKeyId = inputs.setAuthorityKeyId ? subjectKeyId(inputs, signer.publicKey) : undefined;
    if (inputs.setAuthorityKeyId && !authorityKeyId) {
      throw new Error("Invalid Certificate Authority: Could not determine Authority Key Identifier");
    }
    const { id, outputs } = issue(inputs, {
      subject,
      alternativeNames: alternativeNames(inputs),
      publicKey: signer.publicKey,
      issuer: subject,
      signer,
      authorityKeyId,
    });
    return Promise.resolve({ id, outputs: { ...outputs, keyAlgorithm: signer.keyAlgorithm } });
  },
  diff: diffRenewal,
  read: readRenewal,
  update: updateRenewal,
});
