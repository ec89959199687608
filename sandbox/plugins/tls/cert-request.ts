import { createHash } from "node:crypto";
import { Attributes, CertificationRequest, CertificationRequestInfo } from "@peculiar/asn1-csr";
import { AsnConvert } from "@peculiar/asn1-schema";
import { Attribute, Extensions, id_ce_subjectAltName, SubjectAlternativeName } from "@peculiar/asn1-x509";
import type { GeneralName, Name, SubjectPublicKeyInfo } from "@peculiar/asn1-x509";
import { resource, unsupported } from "../framework/definition.ts";
import { checkNoneEmpty, checkPresent } from "./checks.ts";
import { alternativeNamesExtensions, find } from "./extensions.ts";
import { fromPem, toPem } from "./pem.ts";
import { readSigner } from "./signer.ts";
import { alternativeNames, nameFrom, subjectInputs } from "./subject.ts";

const LABEL = "CERTIFICATE REQUEST";
const EXTENSION_REQUEST = "1.2.840.113549.1.9.14";

/** A request to a CA for a certificate; every change of an input makes a new one. */
export const certRequest = resource<undefined>()({
  inputs: {
    privateKeyPem: { type: "string", secret: true, replaces: true },
    ...subjectInputs,
    ...unsupported("privateKeyPemWo", "privateKeyPemWoVersion"),
  },
  outputs: { certRequestPem: { type: "string" }, keyAlgorithm: { type: "string" } },
  check: (inputs) => [...checkPresent(inputs, "privateKeyPem"), ...checkNoneEmpty(inputs, "ipAddresses", "uris")],
  create: (_context, inputs) => {
    const signer = readSigner(inputs.privateKeyPem, "private key PEM");
    const subject = nameFrom(inputs.subject);
    const names = alternativeNamesExtensions(alternativeNames(inputs), subject.length === 0);
    const values = [AsnConvert.serialize(new Extensions(names))];
    const certificationRequestInfo = new CertificationRequestInfo({
      subject,
      subjectPKInfo: signer.publicKey,
      attributes: new Attributes(names.length === 0 ? [] : [new Attribute({ type: EXTENSION_REQUEST, values })]),
    });
    const request = AsnConvert.serialize(
      new CertificationRequest({
        certificationRequestInfo,
        signatureAlgorithm: signer.signatureAlgorithm,
        signature: signer.sign(AsnConvert.serialize(certificationRequestInfo)),
      }),
    );
    return Promise.resolve({
      id: createHash("sha1").update(Buffer.from(request)).digest("hex"),
      outputs: { certRequestPem: toPem(LABEL, request), keyAlgorithm: signer.keyAlgorithm },
    });
  },
});

/** Whose certificate a request asks for. Throws if it is no request. */
export function readRequest(pem: string): { name: Name; publicKey: SubjectPublicKeyInfo; names: GeneralName[] } {
  const { certificationRequestInfo } = AsnConvert.parse(fromPem(LABEL, pem), CertificationRequest);
  const { subject, subjectPKInfo, attributes } = certificationRequestInfo;
  const asked = [...attributes].find(({ type }) => type === EXTENSION_REQUEST)?.values[0];
  const extensions = asked ? AsnConvert.parse(asked, Extensions) : [];
  const names = find(extensions, id_ce_subjectAltName, SubjectAlternativeName) ?? [];
  return { name: subject, publicKey: subjectPKInfo, names: [...names] };
}
