import { AsnConvert, OctetString } from "@peculiar/asn1-schema";
import {
  anyExtendedKeyUsage,
  AuthorityKeyIdentifier,
  BasicConstraints,
  ExtendedKeyUsage,
  Extension,
  id_ce_authorityKeyIdentifier,
  id_ce_basicConstraints,
  id_ce_extKeyUsage,
  id_ce_keyUsage,
  id_ce_subjectAltName,
  id_ce_subjectKeyIdentifier,
  id_kp_clientAuth,
  id_kp_codeSigning,
  id_kp_emailProtection,
  id_kp_OCSPSigning,
  id_kp_serverAuth,
  id_kp_timeStamping,
  KeyIdentifier,
  KeyUsage,
  KeyUsageFlags,
  SubjectAlternativeName,
  SubjectKeyIdentifier,
} from "@peculiar/asn1-x509";
import type { GeneralName } from "@peculiar/asn1-x509";

const KEY_USES = {
  digital_signature: KeyUsageFlags.digitalSignature,
  content_commitment: KeyUsageFlags.nonRepudiation,
  key_encipherment: KeyUsageFlags.keyEncipherment,
  data_encipherment: KeyUsageFlags.dataEncipherment,
  key_agreement: KeyUsageFlags.keyAgreement,
  cert_signing: KeyUsageFlags.keyCertSign,
  crl_signing: KeyUsageFlags.cRLSign,
  encipher_only: KeyUsageFlags.encipherOnly,
  decipher_only: KeyUsageFlags.decipherOnly,
} as const;

const PURPOSES = {
  any_extended: anyExtendedKeyUsage,
  server_auth: id_kp_serverAuth,
  client_auth: id_kp_clientAuth,
  code_signing: id_kp_codeSigning,
  email_protection: id_kp_emailProtection,
  ipsec_end_system: "1.3.6.1.5.5.7.3.5",
  ipsec_tunnel: "1.3.6.1.5.5.7.3.6",
  ipsec_user: "1.3.6.1.5.5.7.3.7",
  timestamping: id_kp_timeStamping,
  ocsp_signing: id_kp_OCSPSigning,
  microsoft_server_gated_crypto: "1.3.6.1.4.1.311.10.3.3",
  netscape_server_gated_crypto: "2.16.840.1.113730.4.1",
  microsoft_commercial_code_signing: "1.3.6.1.4.1.311.2.1.22",
  microsoft_kernel_code_signing: "1.3.6.1.4.1.311.61.1.1",
} as const;

export type Use = keyof typeof KEY_USES | keyof typeof PURPOSES;

/** The values of the input `allowedUses`. */
export const USES = [...Object.keys(KEY_USES), ...Object.keys(PURPOSES)].toSorted() as Use[];

/** The extensions for what the key may be used for. */
export function usesExtensions(uses: readonly Use[]): Extension[] {
  const flags = uses.reduce((sum, use) => sum | (use in KEY_USES ? KEY_USES[use as keyof typeof KEY_USES] : 0), 0);
  const purposes = uses.flatMap((use) => (use in PURPOSES ? [PURPOSES[use as keyof typeof PURPOSES]] : []));
  return [
    ...(flags === 0 ? [] : [extension(id_ce_keyUsage, new KeyUsage(flags), true)]),
    ...(purposes.length === 0 ? [] : [extension(id_ce_extKeyUsage, new ExtendedKeyUsage(purposes))]),
  ];
}

/** `maxPathLength`: like in the official plugin, 0 and -1 mean no limit. */
export function basicConstraints(isCa: boolean, maxPathLength = 0): Extension {
  const limited = maxPathLength > 0;
  if (limited && !isCa) throw new Error("only CAs are allowed to specify MaxPathLen");
  const constraints = new BasicConstraints({ cA: isCa, ...(limited && { pathLenConstraint: maxPathLength }) });
  return extension(id_ce_basicConstraints, constraints, true);
}

export function keyIdExtensions(subject: ArrayBuffer | undefined, authority: ArrayBuffer | undefined): Extension[] {
  return [
    ...(subject ? [extension(id_ce_subjectKeyIdentifier, new SubjectKeyIdentifier(subject))] : []),
    ...(authority
      ? [
          extension(
            id_ce_authorityKeyIdentifier,
            new AuthorityKeyIdentifier({ keyIdentifier: new KeyIdentifier(authority) }),
          ),
        ]
      : []),
  ];
}

/** Critical if nothing else names the subject. */
export function alternativeNamesExtensions(names: GeneralName[], critical: boolean): Extension[] {
  return names.length === 0 ? [] : [extension(id_ce_subjectAltName, new SubjectAlternativeName(names), critical)];
}

/** Finds an extension and reads its value. */
export function find<Value>(extensions: Iterable<Extension>, extnID: string, type: new () => Value): Value | undefined {
  const found = [...extensions].find((candidate) => candidate.extnID === extnID);
  return found && AsnConvert.parse(found.extnValue, type);
}

function extension(extnID: string, value: object, critical = false): Extension {
  return new Extension({ extnID, critical, extnValue: new OctetString(AsnConvert.serialize(value)) });
}
