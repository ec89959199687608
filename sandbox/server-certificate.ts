import { X509Certificate } from "node:crypto";
import { readFile, rename, rm } from "node:fs/promises";
import path from "node:path";

import { execa } from "execa";

const CERTIFICATE_DAYS = "3650";

/** Whether the folder has a server's certificate for an IP address, by the authority that is there too. */
export async function hasCertificateFor(folder: string, address: string): Promise<boolean> {
  try {
    const authority = new X509Certificate(await readFile(path.join(folder, "ca.crt")));
    const server = new X509Certificate(await readFile(path.join(folder, "server.crt")));
    return server.checkIssued(authority) && server.checkIP(address) !== undefined;
  } catch {
    return false;
  }
}

/**
 * Makes an authority for one server of a sandbox, and with it the server's certificate: `ca.crt`, `server.crt` and
 * `server.key`, PEM. Keeps only the server's private key.
 *
 * @param name   the server's name in messages, for example "registry"
 * @param names  what the certificate is valid for, as OpenSSL writes it: `DNS:<name>`, `IP:<address>`
 */
export async function makeCertificates(folder: string, name: string, names: string[]): Promise<void> {
  const inFolder = (file: string) => path.join(folder, file);
  const newKey = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-x509"];
  const days = ["-days", CERTIFICATE_DAYS];
  const authority = [
    ...["-keyout", inFolder("ca.key"), "-out", inFolder("ca.crt")],
    ...["-subj", `/CN=Sandbox ${name} authority`],
  ];
  await execa("openssl", [...newKey, ...days, ...authority]);
  const issuer = ["-CA", inFolder("ca.crt"), "-CAkey", inFolder("ca.key")];
  const server = [
    ...["-keyout", inFolder("server.key"), "-out", inFolder("server.crt.new")],
    ...["-subj", `/CN=Sandbox ${name}`],
  ];
  const extensions = [`subjectAltName=${names.join(",")}`, "basicConstraints=critical,CA:FALSE"];
  await execa("openssl", [
    ...newKey,
    ...days,
    ...issuer,
    ...server,
    ...extensions.flatMap((extension) => ["-addext", extension]),
  ]);
  // Last, because this file means that everything exists.
  await rename(inFolder("server.crt.new"), inFolder("server.crt"));
  // It must not sign anything else.
  await rm(inFolder("ca.key"));
}
