import { createHash, createPrivateKey, createPublicKey } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { reveal, Secret, UNKNOWN } from "../../sandbox/plugins/framework/values.ts";
import { PluginClient } from "./plugin-client.ts";
import type { Inputs } from "./plugin-client.ts";
import { standInOnly } from "./plugin-subject.ts";

const PRIVATE_KEY = "tls:index/privateKey:PrivateKey";
const SECRETS = ["privateKeyPem", "privateKeyPemPkcs8", "privateKeyOpenssh"];

describe("PrivateKey", () => {
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
