import * as pulumi from "@pulumi/pulumi";
import * as tls from "@pulumi/tls";

/** A server's certificate, and what its clients trust. All PEM. */
export interface ServerCertificate {
  /** Secret. */
  key: pulumi.Output<string>;
  certificate: pulumi.Output<string>;
  /** The authority's certificate. */
  authority: pulumi.Output<string>;
}

const HOURS_OF_A_YEAR = 365 * 24;

/** So long that a stack that nobody deploys for years still works: the keys are only in the state and on the droplet. */
const VALID_YEARS = { authority: 20, server: 5 };

/** How early a run renews the server's certificate. */
const EARLY_YEARS = 1;

/**
 * A server's certificate from an authority that signs nothing else.
 *
 * @param name      prefix of the resources' names
 * @param dnsNames  names by which clients reach the server
 */
export function serverCertificate(
  name: string,
  dnsNames: string[],
  opts: pulumi.CustomResourceOptions,
): ServerCertificate {
  // The backend's TLS library accepts no Ed25519 certificate here.
  const key = (role: string) =>
    new tls.PrivateKey(`${name}-${role}-key`, { algorithm: "ECDSA", ecdsaCurve: "P256" }, opts);
  const [authorityKey, serverKey] = [key("authority"), key("certificate")];
  const authority = new tls.SelfSignedCert(
    `${name}-authority`,
    {
      privateKeyPem: authorityKey.privateKeyPem,
      subject: { commonName: `${name} authority` },
      isCaCertificate: true,
      allowedUses: ["cert_signing"],
      validityPeriodHours: VALID_YEARS.authority * HOURS_OF_A_YEAR,
      earlyRenewalHours: VALID_YEARS.server * HOURS_OF_A_YEAR,
    },
    opts,
  );
  const request = new tls.CertRequest(
    `${name}-certificate-request`,
    { privateKeyPem: serverKey.privateKeyPem, subject: { commonName: `${name} server` }, dnsNames },
    opts,
  );
  const certificate = new tls.LocallySignedCert(
    `${name}-certificate`,
    {
      certRequestPem: request.certRequestPem,
      caPrivateKeyPem: authorityKey.privateKeyPem,
      caCertPem: authority.certPem,
      allowedUses: ["digital_signature", "server_auth"],
      validityPeriodHours: VALID_YEARS.server * HOURS_OF_A_YEAR,
      earlyRenewalHours: EARLY_YEARS * HOURS_OF_A_YEAR,
    },
    opts,
  );
  return { key: serverKey.privateKeyPem, certificate: certificate.certPem, authority: authority.certPem };
}
