import { createHash, createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import path from "node:path";
import tls from "node:tls";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reveal, Secret, UNKNOWN } from "../../sandbox/plugins/framework/values.ts";
import { PluginClient } from "./plugin-client.ts";
import type { Inputs, Made } from "./plugin-client.ts";
import { standInOnly } from "./plugin-subject.ts";

const PRIVATE_KEY = "tls:index/privateKey:PrivateKey";
const SELF_SIGNED = "tls:index/selfSignedCert:SelfSignedCert";
const REQUEST = "tls:index/certRequest:CertRequest";
const LOCALLY_SIGNED = "tls:index/locallySignedCert:LocallySignedCert";
const SECRETS = ["privateKeyPem", "privateKeyPemPkcs8", "privateKeyOpenssh"];

let plugin: PluginClient;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "plugin-tls-"));
  plugin = await PluginClient.start("tls");
  await plugin.configure();
});
afterAll(async () => {
  await plugin[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

describe("PrivateKey", () => {
  test.each<[Inputs, string, string, string]>([
    [{ algorithm: "ED25519" }, "ed25519", "ssh-ed25519", "PRIVATE KEY"],
    [{ algorithm: "RSA", rsaBits: 3072 }, "rsa", "ssh-rsa", "RSA PRIVATE KEY"],
    [{ algorithm: "ECDSA", ecdsaCurve: "P256" }, "ec", "ecdsa-sha2-nistp256", "EC PRIVATE KEY"],
    [{ algorithm: "ECDSA", ecdsaCurve: "P384" }, "ec", "ecdsa-sha2-nistp384", "EC PRIVATE KEY"],
    [{ algorithm: "ECDSA", ecdsaCurve: "P521" }, "ec", "ecdsa-sha2-nistp521", "EC PRIVATE KEY"],
  ])("%j is one key in every format, as OpenSSL and ssh-keygen read it", async (inputs, type, sshType, preamble) => {
    const made = await plugin.create(PRIVATE_KEY, inputs);
    const state = reveal(made.state) as Record<string, string>;
    expect(state).toMatchObject(inputs);

    const publicKey = createPublicKey(state["publicKeyPem"] ?? "");
    expect(publicKey.asymmetricKeyType).toBe(type);
    expect(made.id).toBe(
      createHash("sha1")
        .update(publicKey.export({ type: "spki", format: "der" }))
        .digest("hex"),
    );
    for (const format of ["privateKeyPem", "privateKeyPemPkcs8"]) {
      expect(createPublicKey(createPrivateKey(state[format] ?? "")).equals(publicKey), format).toBe(true);
      expect(state[format]).toMatch(/-----\n$/);
    }
    expect(state["privateKeyPem"]).toContain(`-----BEGIN ${preamble}-----`);

    const file = path.join(folder, sshType);
    await writeFile(file, state["privateKeyOpenssh"] ?? "", { mode: 0o600 });
    const { stdout: line } = await execa("ssh-keygen", ["-y", "-f", file]);
    expect(state["publicKeyOpenssh"]).toBe(`${line.trim()}\n`);
    expect(line.startsWith(`${sshType} `)).toBe(true);
    const sha256 = await execa("ssh-keygen", ["-l", "-E", "sha256", "-f", file]);
    expect(sha256.stdout.split(" ")[1]).toBe(state["publicKeyFingerprintSha256"]);
    const md5 = await execa("ssh-keygen", ["-l", "-E", "md5", "-f", file]);
    expect(md5.stdout.split(" ")[1]).toBe(`MD5:${state["publicKeyFingerprintMd5"] ?? ""}`);
  });

  test("has no OpenSSH formats on the curve P224, the default", async () => {
    const { state } = await plugin.create(PRIVATE_KEY, { algorithm: "ECDSA" });
    expect(state).toMatchObject({
      ecdsaCurve: "P224",
      privateKeyOpenssh: new Secret(""),
      publicKeyOpenssh: "",
      publicKeyFingerprintMd5: "",
      publicKeyFingerprintSha256: "",
    });
  });

  test("keeps only the private keys secret", async () => {
    const { state } = await plugin.create(PRIVATE_KEY, { algorithm: "ED25519" });
    const secret = Object.keys(state).filter((key) => state[key] instanceof Secret);
    expect(secret.sort()).toEqual([...SECRETS].sort());
  });

  test("makes nothing in a preview", async () => {
    const { state } = await plugin.create(PRIVATE_KEY, { algorithm: "ED25519" }, { preview: true });
    expect(state).toMatchObject({
      algorithm: "ED25519",
      rsaBits: 2048,
      ecdsaCurve: "P224",
      publicKeyPem: UNKNOWN,
      publicKeyOpenssh: UNKNOWN,
      publicKeyFingerprintMd5: UNKNOWN,
      publicKeyFingerprintSha256: UNKNOWN,
      ...Object.fromEntries(SECRETS.map((key) => [key, UNKNOWN])),
    });
  });

  test.each<[string, Inputs]>([
    ["algorithm", { algorithm: "RSA" }],
    ["rsaBits", { algorithm: "ED25519", rsaBits: 4096 }],
    ["ecdsaCurve", { algorithm: "ED25519", ecdsaCurve: "P256" }],
  ])("is replaced, the new one first, when %s changes", async (property, inputs) => {
    const made = await plugin.create(PRIVATE_KEY, { algorithm: "ED25519" });
    const diff = await plugin.diff(made, inputs);
    expect(diff).toMatchObject({ detailed: {}, replaces: [property], deleteBeforeReplace: false });
    // The original also names the outputs that will change.
    expect(diff.diffs).toContain(property);
  });

  test("is unchanged by a second run and by a refresh, and deleted without anything to remove", async () => {
    const made = await plugin.create(PRIVATE_KEY, { algorithm: "ED25519" });
    expect((await plugin.diff(made, { algorithm: "ED25519" })).detailed).toEqual({});
    expect(await plugin.read(made)).toEqual(made);
    await expect(plugin.delete(made)).resolves.toBeUndefined();
  });

  test("keeps defaults in the state and not in the inputs", async () => {
    const made = await plugin.create(PRIVATE_KEY, { algorithm: "ED25519" });
    expect(made.inputs).toEqual({ algorithm: "ED25519" });
    expect(made.state).toMatchObject({ rsaBits: 2048, ecdsaCurve: "P224" });
  });

  test.each<[string, Inputs, RegExp]>([
    ["no algorithm", {}, /algorithm/],
    ["an algorithm that it does not have", { algorithm: "DSA" }, /algorithm.*RSA.*ECDSA.*ED25519/],
    ["a curve that it does not have", { algorithm: "ECDSA", ecdsaCurve: "P1" }, /(ecdsaCurve|ecdsa_curve).*P224.*P521/],
  ])("refuses %s", async (_what, inputs, reason) => {
    await expect(plugin.check(PRIVATE_KEY, inputs)).rejects.toThrow(reason);
  });

  standInOnly("tls", "the official plugin accepts these")("refuses unknown inputs", async () => {
    await expect(plugin.check(PRIVATE_KEY, { algorithm: "RSA", bits: 4096 })).rejects.toThrow("bits is unknown");
    await expect(plugin.checkConfig({ proxy: '{"url":"http://127.0.0.1:1"}' })).rejects.toThrow(
      "proxy is not implemented by the sandbox's stand-in plugin",
    );
  });
});

const ECDSA = { algorithm: "ECDSA", ecdsaCurve: "P256" };
const NAMES = {
  subject: { commonName: "database" },
  dnsNames: ["db.internal", "localhost"],
  ipAddresses: ["127.0.0.1", "::ffff:10.0.0.7", "fd00::7"],
  uris: ["spiffe://convex/db"],
};

async function keyPem(inputs: Inputs = ECDSA): Promise<string> {
  return text(await plugin.create(PRIVATE_KEY, inputs), "privateKeyPem");
}

async function caInputs(more: Inputs = {}): Promise<Inputs> {
  return {
    privateKeyPem: await keyPem(),
    subject: { commonName: "private CA", organization: "Convex" },
    isCaCertificate: true,
    allowedUses: ["cert_signing", "crl_signing"],
    validityPeriodHours: 24,
    ...more,
  };
}

/** The inputs of a server's certificate, with a request for this key. */
async function serverInputs(key: string, ca: Made, names: Inputs = NAMES): Promise<Inputs> {
  const request = await plugin.create(REQUEST, { privateKeyPem: key, ...names });
  return {
    certRequestPem: text(request, "certRequestPem"),
    caCertPem: text(ca, "certPem"),
    caPrivateKeyPem: text(ca, "privateKeyPem"),
    allowedUses: ["digital_signature", "server_auth"],
    validityPeriodHours: 24,
  };
}

function text(made: Made, property: string): string {
  return reveal(made.state[property] ?? null) as string;
}

function certificateOf(made: Made): X509Certificate {
  return new X509Certificate(text(made, "certPem"));
}

/** What OpenSSL prints about a certificate or request. */
async function openssl(kind: "x509" | "req", pem: string): Promise<string> {
  return (await execa("openssl", [kind, "-noout", "-text", "-nameopt", "RFC2253"], { input: pem })).stdout;
}

/** Runs `openssl verify` as a client of this host. */
async function verify(leaf: Made, ca: Made, ...options: string[]): Promise<string> {
  const [leafFile, caFile] = [path.join(folder, "leaf.pem"), path.join(folder, "ca.pem")];
  await writeFile(leafFile, text(leaf, "certPem"));
  await writeFile(caFile, text(ca, "certPem"));
  const args = ["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", caFile, ...options, leafFile];
  const { stdout, stderr } = await execa("openssl", args, { reject: false });
  return `${stdout}${stderr}`;
}

/** A TLS client's handshake with a server that has this certificate; rejects as the client does. */
async function handshake(leaf: Made, key: string, ca: Made, servername: string): Promise<void> {
  const server = tls.createServer({ cert: text(leaf, "certPem"), key });
  server.on("tlsClientError", () => undefined);
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  // An address is no server name in TLS: the client then compares with the host.
  const name = servername === "127.0.0.1" ? {} : { servername };
  const client = tls.connect({ host: "127.0.0.1", port, ca: text(ca, "certPem"), ...name });
  try {
    await once(client, "secureConnect");
  } finally {
    client.destroy();
    server.close();
  }
}

describe("SelfSignedCert", () => {
  test.each<[Inputs, string]>([
    [ECDSA, "ecdsa-with-SHA256"],
    [{ algorithm: "ECDSA" }, "ecdsa-with-SHA256"],
    [{ algorithm: "ECDSA", ecdsaCurve: "P384" }, "ecdsa-with-SHA384"],
    [{ algorithm: "RSA" }, "sha256WithRSAEncryption"],
    [{ algorithm: "ED25519" }, "ED25519"],
  ])("makes a CA of a key %j, signed with %s", async (key, signature) => {
    const privateKeyPem = await keyPem(key);
    const made = await plugin.create(SELF_SIGNED, await caInputs({ privateKeyPem, setAuthorityKeyId: true }));
    expect(made.state).toMatchObject({ keyAlgorithm: key["algorithm"], privateKeyPem: new Secret(privateKeyPem) });
    const certificate = certificateOf(made);
    expect(certificate.ca).toBe(true);
    expect(certificate.checkIssued(certificate)).toBe(true);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate.checkPrivateKey(createPrivateKey(privateKeyPem))).toBe(true);
    expect(certificate.subject).toBe("O=Convex\nCN=private CA");
    expect(BigInt(`0x${certificate.serialNumber}`).toString()).toBe(made.id);
    const shown = await openssl("x509", text(made, "certPem"));
    expect(shown).toContain(`Signature Algorithm: ${signature}`);
    expect(shown).toMatch(/Basic Constraints: critical\s+CA:TRUE\n/);
    expect(shown).toMatch(/X509v3 Key Usage: critical\s+Certificate Sign, CRL Sign\n/);
    const [, id = ""] = /Subject Key Identifier: \s+([0-9A-F:]+)/.exec(shown) ?? [];
    expect(/Authority Key Identifier: \s+([0-9A-F:]+)/.exec(shown)?.[1]).toBe(id);
    expect(id.replaceAll(":", "").toLowerCase()).toBe(keyIdOf(certificate));
  });

  test("says from when to when it is valid, to the second in the certificate", async () => {
    const before = Date.now();
    const made = await plugin.create(SELF_SIGNED, await caInputs({ validityPeriodHours: 300_000 }));
    const { validFromDate, validToDate } = certificateOf(made);
    const [start, end] = [Date.parse(text(made, "validityStartTime")), Date.parse(text(made, "validityEndTime"))];
    expect(start).toBeGreaterThanOrEqual(before);
    expect(start).toBeLessThanOrEqual(Date.now());
    expect(end - start).toBe(300_000 * 3_600_000);
    expect(validFromDate.getTime()).toBe(Math.floor(start / 1000) * 1000);
    expect(validToDate.getTime()).toBe(Math.floor(end / 1000) * 1000);
  });

  test("limits the path below a CA, but not to zero", async () => {
    const limited = await plugin.create(SELF_SIGNED, await caInputs({ maxPathLength: 1 }));
    expect(await openssl("x509", text(limited, "certPem"))).toContain("CA:TRUE, pathlen:1");
    const zero = await plugin.create(SELF_SIGNED, await caInputs({ maxPathLength: 0 }));
    expect(await openssl("x509", text(zero, "certPem"))).toMatch(/CA:TRUE\n/);
  });

  test("has every allowed use, and the whole subject in a fixed order", async () => {
    const made = await plugin.create(SELF_SIGNED, {
      privateKeyPem: await keyPem(),
      validityPeriodHours: 1,
      allowedUses: USES,
      ...NAMES,
      subject: {
        commonName: "a",
        organization: "Öl",
        organizationalUnit: "c",
        locality: "d",
        province: "e",
        country: "DE",
        postalCode: "1",
        streetAddresses: ["g", "f"],
        serialNumber: "2",
        emailAddress: "a@b.c",
      },
    });
    const shown = await openssl("x509", text(made, "certPem"));
    expect(/Subject: (.*)/.exec(shown)?.[1]).toBe(
      "emailAddress=a@b.c,serialNumber=2,CN=a,OU=c,O=\\C3\\96l,postalCode=1,street=g+street=f,L=d,ST=e,C=DE",
    );
    expect(shown).toContain(
      "Digital Signature, Non Repudiation, Key Encipherment, Data Encipherment, Key Agreement, Certificate Sign, CRL Sign, Encipher Only, Decipher Only",
    );
    expect(certificateOf(made).keyUsage).toEqual(PURPOSES);
    expect(shown).toMatch(/Basic Constraints: critical\s+CA:FALSE\n/);
    expect(shown).not.toContain("Key Identifier");
    expect(shown).toMatch(/Subject Alternative Name: \n/);
  });

  test("without a subject has critical alternative names", async () => {
    const inputs = { privateKeyPem: await keyPem(), validityPeriodHours: 1, allowedUses: [], dnsNames: ["a.b"] };
    const made = await plugin.create(SELF_SIGNED, { ...inputs, setSubjectKeyId: true });
    const shown = await openssl("x509", text(made, "certPem"));
    expect(shown).toMatch(/Subject Alternative Name: critical\s+DNS:a.b\n/);
    expect(shown).toContain("Subject Key Identifier");
    expect(shown).not.toContain("Key Usage");
  });

  test("makes nothing in a preview", async () => {
    const { state } = await plugin.create(SELF_SIGNED, await caInputs(), { preview: true });
    expect(state).toMatchObject({
      earlyRenewalHours: 0,
      isCaCertificate: true,
      setSubjectKeyId: false,
      setAuthorityKeyId: false,
      ...Object.fromEntries(
        ["certPem", "keyAlgorithm", "validityStartTime", "validityEndTime", "maxPathLength"].map((key) => [
          key,
          UNKNOWN,
        ]),
      ),
    });
  });

  test("is unchanged by a second run and by a refresh, and deleted without anything to remove", async () => {
    const inputs = await caInputs({ earlyRenewalHours: 23 });
    const made = await plugin.create(SELF_SIGNED, inputs);
    expect(made.inputs).toEqual({ ...inputs, privateKeyPem: new Secret(inputs["privateKeyPem"] as string) });
    expect(made.state).toMatchObject({ readyForRenewal: false, setSubjectKeyId: false });
    expect((await plugin.diff(made, inputs)).diffs).toEqual([]);
    expect(await plugin.read(made)).toEqual(made);
    await expect(plugin.delete(made)).resolves.toBeUndefined();
  });

  test.each<[string, Inputs]>([
    ["privateKeyPem", {}],
    ["subject", { subject: { commonName: "another" } }],
    ["dnsNames", { dnsNames: ["db.internal"] }],
    ["ipAddresses", { ipAddresses: ["10.0.0.7"] }],
    ["uris", { uris: ["spiffe://a/b"] }],
    ["allowedUses", { allowedUses: ["crl_signing", "cert_signing"] }],
    ["validityPeriodHours", { validityPeriodHours: 25 }],
    ["isCaCertificate", { isCaCertificate: false }],
    ["maxPathLength", { maxPathLength: 2 }],
    ["setSubjectKeyId", { setSubjectKeyId: true }],
    ["setAuthorityKeyId", { setAuthorityKeyId: true }],
  ])("is replaced, the new one first, when %s changes", async (property, change) => {
    const inputs = await caInputs();
    const made = await plugin.create(SELF_SIGNED, inputs);
    const changed = property === "privateKeyPem" ? { privateKeyPem: await keyPem() } : change;
    const diff = await plugin.diff(made, { ...inputs, ...changed });
    expect(diff).toMatchObject({ replaces: [property], deleteBeforeReplace: false });
    expect(diff.diffs).toContain(property);
  });

  test("keeps its path length when the program no longer says it", async () => {
    const inputs = await caInputs();
    const made = await plugin.create(SELF_SIGNED, { ...inputs, maxPathLength: 1 });
    expect((await plugin.diff(made, inputs)).diffs).toEqual([]);
  });

  test.each<[string, Inputs, RegExp]>([
    ["no key", { privateKeyPem: undefined }, /privateKeyPem/],
    ["no uses", { allowedUses: undefined }, /allowedUses/],
    [
      "a use that it does not have",
      { allowedUses: ["tls"] },
      /(allowedUses|allowed_uses)\[0\].*cert_signing.*timestamping/,
    ],
    ["no validity", { validityPeriodHours: undefined }, /validityPeriodHours/],
    ["a negative validity", { validityPeriodHours: -1 }, /(validityPeriodHours|validity_period_hours).*at least 0/],
    ["a negative renewal", { earlyRenewalHours: -1 }, /(earlyRenewalHours|early_renewal_hours).*at least 0/],
    ["a path length below -1", { maxPathLength: -2 }, /(maxPathLength|max_path_length).*at least -1/],
    ["an empty address", { ipAddresses: ["10.0.0.1", ""] }, /(ipAddresses|ip_addresses)\[1\]/],
    ["an empty URI", { uris: [""] }, /uris\[0\]/],
  ])("refuses %s", async (_what, change, reason) => {
    await expect(plugin.check(SELF_SIGNED, without(await caInputs(change)))).rejects.toThrow(reason);
  });

  test.each<[string, Inputs, RegExp]>([
    ["a key that is not PEM", { privateKeyPem: "key" }, /Failed to parse private key PEM/],
    ["a CA without a subject", { subject: undefined }, /Invalid Certificate Subject: Must contain at least one/],
    [
      "the authority's key id without the subject's",
      { isCaCertificate: false, setAuthorityKeyId: true },
      /Could not determine Authority Key Identifier/,
    ],
    [
      "a path length without a CA",
      { isCaCertificate: false, maxPathLength: 1 },
      /only CAs are allowed to specify MaxPathLen/,
    ],
    ["an incomplete address", { ipAddresses: ["10.0.0"] }, /Invalid IP address: Failed to parse "10.0.0"/],
    ["a URI without a scheme", { uris: ["://a"] }, /Invalid URI: Failed to parse ":\/\/a"/],
    ["a name outside ASCII", { dnsNames: ["ä"] }, /"ä" cannot be encoded as an IA5String/],
  ])("fails with %s", async (_what, change, reason) => {
    await expect(plugin.create(SELF_SIGNED, without(await caInputs(change)))).rejects.toThrow(reason);
  });

  standInOnly("tls", "the official plugin of this version has them")("refuses write-only keys", async () => {
    const inputs = await caInputs({ privateKeyPemWo: "key" });
    await expect(plugin.check(SELF_SIGNED, inputs)).rejects.toThrow(
      "privateKeyPemWo is not implemented by the sandbox's stand-in plugin",
    );
  });
});

describe.each(["SelfSignedCert", "LocallySignedCert"])("The renewal of a %s", (kind) => {
  const type = kind === "SelfSignedCert" ? SELF_SIGNED : LOCALLY_SIGNED;
  let inputs: Inputs;

  beforeAll(async () => {
    inputs = await caInputs();
    if (type === LOCALLY_SIGNED) inputs = await serverInputs(await keyPem(), await plugin.create(SELF_SIGNED, inputs));
  });

  test("has an earlier or later window without a new certificate", async () => {
    const made = await plugin.create(type, inputs);
    const later = { ...inputs, earlyRenewalHours: 23 };
    expect(await plugin.diff(made, later)).toMatchObject({ replaces: [], diffs: ["earlyRenewalHours"] });
    const updated = await plugin.update(made, later);
    expect(updated).toEqual({
      ...made,
      inputs: { ...made.inputs, earlyRenewalHours: 23 },
      state: { ...made.state, earlyRenewalHours: 23 },
    });
  });

  test("replaces the certificate when the window is reached, with and without a refresh", async () => {
    const made = await plugin.create(type, { ...inputs, earlyRenewalHours: 23 });
    // As if it were made two hours ago.
    const soon = new Date(Date.parse(text(made, "validityEndTime")) - 2 * 3_600_000).toISOString();
    const aged = { ...made, state: { ...made.state, validityEndTime: soon } };
    const replaced = { replaces: ["readyForRenewal"], deleteBeforeReplace: false };
    expect(await plugin.diff(aged, { ...inputs, earlyRenewalHours: 23 })).toMatchObject(replaced);

    const refreshed = await plugin.read(aged);
    expect(refreshed).toEqual({ ...aged, state: { ...aged.state, readyForRenewal: true } });
    expect(await plugin.diff(refreshed ?? aged, { ...inputs, earlyRenewalHours: 23 })).toMatchObject(replaced);

    const smaller = { ...inputs, earlyRenewalHours: 21 };
    const diff = await plugin.diff(refreshed ?? aged, smaller);
    expect(diff).toMatchObject({ replaces: [], diffs: ["earlyRenewalHours", "readyForRenewal"] });
    const updated = await plugin.update(refreshed ?? aged, smaller);
    expect(updated.state).toEqual({ ...aged.state, earlyRenewalHours: 21 });
  });

  test("replaces the certificate when the window moves over today", async () => {
    const made = await plugin.create(type, inputs);
    const diff = await plugin.diff(made, { ...inputs, earlyRenewalHours: 24 });
    expect(diff).toMatchObject({ replaces: ["readyForRenewal"], diffs: ["earlyRenewalHours", "readyForRenewal"] });
  });

  test.each<[Inputs]>([[{ validityPeriodHours: 0 }], [{ validityPeriodHours: 5, earlyRenewalHours: 5 }]])(
    "is due from the start, so each run makes a new certificate, with %j",
    async (change) => {
      const made = await plugin.create(type, { ...inputs, ...change });
      expect(made.state["readyForRenewal"]).toBe(true);
      expect((await plugin.diff(made, { ...inputs, ...change })).replaces).toEqual(["readyForRenewal"]);
    },
  );
});

describe("CertRequest", () => {
  test("asks for the names, signed with its key", async () => {
    const privateKeyPem = await keyPem();
    const made = await plugin.create(REQUEST, { privateKeyPem, ...NAMES });
    const pem = text(made, "certRequestPem");
    expect(made.state).toMatchObject({ ...NAMES, keyAlgorithm: "ECDSA", privateKeyPem: new Secret(privateKeyPem) });
    const der = Buffer.from(pem.split("\n").slice(1, -2).join(""), "base64");
    expect(made.id).toBe(createHash("sha1").update(der).digest("hex"));
    const verified = await execa("openssl", ["req", "-noout", "-verify"], { input: pem });
    expect(verified.stderr).toContain("self-signature verify OK");
    const shown = await openssl("req", pem);
    expect(shown).toContain("Subject: CN=database\n");
    expect(shown).toContain(
      "DNS:db.internal, DNS:localhost, IP Address:127.0.0.1, IP Address:10.0.0.7, IP Address:FD00:0:0:0:0:0:0:7, URI:spiffe://convex/db",
    );
  });

  test.each<[Inputs]>([
    [{ algorithm: "RSA" }],
    [{ algorithm: "ED25519" }],
    [{ algorithm: "ECDSA", ecdsaCurve: "P521" }],
  ])("needs no names, and takes a key %j", async (key) => {
    const made = await plugin.create(REQUEST, { privateKeyPem: await keyPem(key) });
    const pem = text(made, "certRequestPem");
    const verified = await execa("openssl", ["req", "-noout", "-verify"], { input: pem });
    expect(verified.stderr).toContain("self-signature verify OK");
    expect(made.state["keyAlgorithm"]).toBe(key["algorithm"]);
    expect(await openssl("req", pem)).not.toContain("Alternative Name");
  });

  test("is replaced by a change of its key or names, and else unchanged", async () => {
    const inputs = { privateKeyPem: await keyPem(), ...NAMES };
    const made = await plugin.create(REQUEST, inputs);
    expect((await plugin.diff(made, inputs)).diffs).toEqual([]);
    expect(await plugin.read(made)).toEqual(made);
    for (const [property, value] of Object.entries({
      privateKeyPem: await keyPem(),
      subject: { commonName: "another" },
      dnsNames: ["db.internal"],
      ipAddresses: ["10.0.0.8"],
      uris: ["spiffe://convex/other"],
    })) {
      expect((await plugin.diff(made, { ...inputs, [property]: value })).replaces).toEqual([property]);
    }
  });

  test("makes nothing in a preview, and refuses to work without a key", async () => {
    const { state } = await plugin.create(REQUEST, { privateKeyPem: await keyPem(), ...NAMES }, { preview: true });
    expect(state).toMatchObject({ ...NAMES, certRequestPem: UNKNOWN, keyAlgorithm: UNKNOWN });
    await expect(plugin.check(REQUEST, NAMES)).rejects.toThrow("privateKeyPem");
  });
});

describe("LocallySignedCert", () => {
  let ca: Made;
  let key: string;
  let inputs: Inputs;
  let leaf: Made;

  beforeAll(async () => {
    ca = await plugin.create(SELF_SIGNED, await caInputs());
    key = await keyPem();
    inputs = await serverInputs(key, ca);
    leaf = await plugin.create(LOCALLY_SIGNED, inputs);
  });

  test("is the CA's certificate for the request", async () => {
    expect(leaf.state).toMatchObject({
      caKeyAlgorithm: "ECDSA",
      caPrivateKeyPem: new Secret(inputs["caPrivateKeyPem"] as string),
      isCaCertificate: false,
      readyForRenewal: false,
    });
    expect(Object.keys(leaf.state).filter((name) => leaf.state[name] instanceof Secret)).toEqual(["caPrivateKeyPem"]);
    const certificate = certificateOf(leaf);
    expect(certificate.checkIssued(certificateOf(ca))).toBe(true);
    expect(certificate.verify(certificateOf(ca).publicKey)).toBe(true);
    expect(certificate.checkPrivateKey(createPrivateKey(key))).toBe(true);
    expect(certificate.ca).toBe(false);
    expect(certificate.issuer).toBe("O=Convex\nCN=private CA");
    expect(certificate.subject).toBe("CN=database");
    expect(certificate.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"]);
    expect(certificate.subjectAltName).toBe(
      "DNS:db.internal, DNS:localhost, IP Address:127.0.0.1, IP Address:10.0.0.7, IP Address:FD00:0:0:0:0:0:0:7, URI:spiffe://convex/db",
    );
    expect(BigInt(`0x${certificate.serialNumber}`).toString()).toBe(leaf.id);
    const shown = await openssl("x509", text(leaf, "certPem"));
    const id = keyIdOf(certificateOf(ca))
      .toUpperCase()
      .replace(/..(?=.)/g, "$&:");
    expect(shown).toMatch(new RegExp(`Authority Key Identifier: \\s+${id}\\n`));
    expect(shown).not.toContain("Subject Key Identifier");
  });

  test("leaves the e-mail address of the request's subject out", async () => {
    const subject = { commonName: "a", emailAddress: "a@b.c", organization: "b", streetAddresses: ["c", "d"] };
    const made = await plugin.create(LOCALLY_SIGNED, await serverInputs(key, ca, { subject }));
    expect(certificateOf(made).subject.split("\n")).toEqual(["street=c + street=d", "O=b", "CN=a"]);
  });

  test("does not name the CA's key if it has the CA's subject", async () => {
    const { subject } = await caInputs();
    const made = await plugin.create(LOCALLY_SIGNED, await serverInputs(key, ca, { subject }));
    expect(await openssl("x509", text(made, "certPem"))).not.toContain("Authority Key Identifier");
  });

  test("passes OpenSSL's strict checks by name and by address, below an intermediate CA too", async () => {
    const strict = await plugin.create(LOCALLY_SIGNED, { ...inputs, setSubjectKeyId: true });
    expect(await verify(strict, ca, "-verify_hostname", "db.internal")).toContain("leaf.pem: OK");
    expect(await verify(strict, ca, "-verify_ip", "10.0.0.7")).toContain("leaf.pem: OK");
    expect(await verify(strict, ca, "-verify_ip", "fd00::7")).toContain("leaf.pem: OK");
    expect(await verify(strict, ca, "-verify_hostname", "elsewhere.internal")).toContain("hostname mismatch");
    expect(await verify(strict, ca, "-verify_ip", "10.0.0.8")).toContain("IP address mismatch");
    const other = await plugin.create(SELF_SIGNED, await caInputs());
    expect(await verify(strict, other, "-verify_hostname", "db.internal")).toContain("verification failed");

    const between = await keyPem({ algorithm: "ED25519" });
    const intermediate = await plugin.create(LOCALLY_SIGNED, {
      ...(await serverInputs(between, ca, { subject: { commonName: "intermediate" } })),
      isCaCertificate: true,
      allowedUses: ["cert_signing"],
    });
    const below = await plugin.create(LOCALLY_SIGNED, {
      ...inputs,
      caCertPem: text(intermediate, "certPem"),
      caPrivateKeyPem: between,
      setSubjectKeyId: true,
    });
    expect(below.state["caKeyAlgorithm"]).toBe("ED25519");
    const chain = path.join(folder, "chain.pem");
    await writeFile(chain, text(intermediate, "certPem"));
    expect(await verify(below, ca, "-untrusted", chain)).toContain("leaf.pem: OK");
  });

  test("serves TLS to a client that knows the CA, by name and by address, and to no other", async () => {
    await expect(handshake(leaf, key, ca, "db.internal")).resolves.toBeUndefined();
    await expect(handshake(leaf, key, ca, "127.0.0.1")).resolves.toBeUndefined();
    await expect(handshake(leaf, key, ca, "elsewhere.internal")).rejects.toThrow(
      "does not match certificate's altnames",
    );
    const other = await plugin.create(SELF_SIGNED, await caInputs());
    await expect(handshake(leaf, key, other, "db.internal")).rejects.toThrow(/unable to (verify|get)|signature/);
    const address = await plugin.create(LOCALLY_SIGNED, await serverInputs(key, ca, { ipAddresses: ["10.0.0.7"] }));
    await expect(handshake(address, key, ca, "127.0.0.1")).rejects.toThrow("does not match certificate's altnames");
  });

  test("is unchanged by a second run and by a refresh, and deleted without anything to remove", async () => {
    expect((await plugin.diff(leaf, inputs)).diffs).toEqual([]);
    expect(await plugin.read(leaf)).toEqual(leaf);
    await expect(plugin.delete(leaf)).resolves.toBeUndefined();
  });

  test("is replaced by every change but that of the renewal", async () => {
    const other = await caInputs();
    for (const [property, value] of Object.entries({
      certRequestPem: text(await plugin.create(REQUEST, { privateKeyPem: key }), "certRequestPem"),
      caCertPem: text(await plugin.create(SELF_SIGNED, other), "certPem"),
      caPrivateKeyPem: other["privateKeyPem"],
      allowedUses: ["server_auth", "digital_signature"],
      validityPeriodHours: 25,
      isCaCertificate: true,
      maxPathLength: 2,
      setSubjectKeyId: true,
    })) {
      const diff = await plugin.diff(leaf, { ...inputs, [property]: value });
      expect(diff, property).toMatchObject({ replaces: [property], deleteBeforeReplace: false });
    }
  });

  test("makes nothing in a preview", async () => {
    const { state } = await plugin.create(LOCALLY_SIGNED, inputs, { preview: true });
    expect(state).toMatchObject({
      earlyRenewalHours: 0,
      caPrivateKeyPem: new Secret(inputs["caPrivateKeyPem"] as string),
      certPem: UNKNOWN,
      caKeyAlgorithm: UNKNOWN,
      validityEndTime: UNKNOWN,
    });
  });

  test.each<[string, Inputs, RegExp]>([
    ["a request that is not PEM", { certRequestPem: "request" }, /Failed to parse certificate request PEM/],
    ["a CA certificate that is not PEM", { caCertPem: "ca" }, /Failed to parse CA certificate PEM/],
    ["a key that is not PEM", { caPrivateKeyPem: "key" }, /Failed to parse CA private key PEM/],
  ])("fails with %s", async (_what, change, reason) => {
    await expect(plugin.create(LOCALLY_SIGNED, { ...inputs, ...change })).rejects.toThrow(reason);
  });

  test("fails with another PEM in place of the CA, and with another CA's key", async () => {
    await expect(plugin.create(LOCALLY_SIGNED, { ...inputs, caCertPem: inputs["certRequestPem"] })).rejects.toThrow(
      'invalid PEM type - expected "CERTIFICATE", got "CERTIFICATE REQUEST"',
    );
    await expect(plugin.create(LOCALLY_SIGNED, { ...inputs, caPrivateKeyPem: await keyPem() })).rejects.toThrow(
      "provided PrivateKey doesn't match parent's PublicKey",
    );
  });

  test("warns if the issuer is not a CA", async () => {
    const issuer = await plugin.create(SELF_SIGNED, await caInputs({ isCaCertificate: false }));
    await plugin.create(LOCALLY_SIGNED, await serverInputs(key, issuer));
    expect(plugin.logs.filter(({ severity }) => severity === "warning").map(({ message }) => message)).toEqual([
      expect.stringContaining("does not appear to be a valid Certificate Authority"),
    ]);
  });

  test("refuses to work without the CA's key", async () => {
    const rest = without({ ...inputs, caPrivateKeyPem: undefined });
    await expect(plugin.check(LOCALLY_SIGNED, rest)).rejects.toThrow("caPrivateKeyPem");
  });
});

function without(inputs: Inputs): Inputs {
  return Object.fromEntries(Object.entries(inputs).filter(([, value]) => value !== undefined));
}

/** SHA-1 of the public key's bits; of an Ed25519 key, as an OCTET STRING. */
function keyIdOf({ publicKey }: X509Certificate): string {
  const spki = publicKey.export({ type: "spki", format: "der" });
  const hash = createHash("sha1");
  switch (publicKey.asymmetricKeyType) {
    case "rsa":
      return hash.update(publicKey.export({ type: "pkcs1", format: "der" })).digest("hex");
    case "ed25519":
      return hash
        .update(Buffer.from([0x04, 32]))
        .update(spki.subarray(-32))
        .digest("hex");
    default:
      // An uncompressed point.
      return hash.update(spki.subarray(spki.indexOf(Buffer.from([0x00, 0x04])) + 1)).digest("hex");
  }
}

const USES = [
  "digital_signature",
  "content_commitment",
  "key_encipherment",
  "data_encipherment",
  "key_agreement",
  "cert_signing",
  "crl_signing",
  "encipher_only",
  "decipher_only",
  "any_extended",
  "server_auth",
  "client_auth",
  "code_signing",
  "email_protection",
  "ipsec_end_system",
  "ipsec_tunnel",
  "ipsec_user",
  "timestamping",
  "ocsp_signing",
  "microsoft_server_gated_crypto",
  "netscape_server_gated_crypto",
  "microsoft_commercial_code_signing",
  "microsoft_kernel_code_signing",
];
const PURPOSES = [
  "2.5.29.37.0",
  "1.3.6.1.5.5.7.3.1",
  "1.3.6.1.5.5.7.3.2",
  "1.3.6.1.5.5.7.3.3",
  "1.3.6.1.5.5.7.3.4",
  "1.3.6.1.5.5.7.3.5",
  "1.3.6.1.5.5.7.3.6",
  "1.3.6.1.5.5.7.3.7",
  "1.3.6.1.5.5.7.3.8",
  "1.3.6.1.5.5.7.3.9",
  "1.3.6.1.4.1.311.10.3.3",
  "2.16.840.1.113730.4.1",
  "1.3.6.1.4.1.311.2.1.22",
  "1.3.6.1.4.1.311.61.1.1",
];
