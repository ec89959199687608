import ssh2 from "ssh2";
import { beforeEach, describe, expect, it } from "vitest";

import { mistakesOf, mockEngine } from "./program.ts";

const { generateKeyPairSync } = ssh2.utils;
const pair = ed25519Pair();
const key = pair.public.trim();
const blob = key.split(" ")[1] ?? "";
const rsa = generateKeyPairSync("rsa", { bits: 2048 }).public.trim();
const nistp256 = generateKeyPairSync("ecdsa", { bits: 256 }).public.trim();

/** A key of a type, with the fields that its blob has after the type. */
function keyOf(type: string, ...fields: (string | Buffer)[]): string {
  const parts = [type, ...fields].flatMap((field) => {
    const bytes = Buffer.from(field);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return [length, bytes];
  });
  return `${type} ${Buffer.concat(parts).toString("base64")}`;
}

const of = (bytes: number) => Buffer.alloc(bytes, 7);

beforeEach(async () => {
  await mockEngine();
});

describe("an operator's key", () => {
  it.each([
    ["of Ed25519", key],
    ["without a comment", `ssh-ed25519 ${blob}`],
    ["with a comment of several words", `ssh-ed25519 ${blob} me on my laptop`],
    ["of RSA", rsa],
    ["of ECDSA, 256 bits", nistp256],
    ["of ECDSA, 384 bits", generateKeyPairSync("ecdsa", { bits: 384 }).public.trim()],
    ["of ECDSA, 521 bits", generateKeyPairSync("ecdsa", { bits: 521 }).public.trim()],
    ["on a security token", keyOf("sk-ssh-ed25519@openssh.com", of(32), "ssh:")],
    ["on an older security token", keyOf("sk-ecdsa-sha2-nistp256@openssh.com", "nistp256", of(65), "ssh:")],
  ])("is accepted: %s", (_, entry) => {
    expect(mistakesOf({ operatorKeys: [entry] })).toEqual([]);
  });

  it.each([
    ["cut off", `ssh-ed25519 ${blob.slice(0, -8)}`, '"ssh-ed25519 …" is cut off, changed or of another type'],
    ["cut off by a letter", `ssh-ed25519 ${blob.slice(0, -1)}`, '"ssh-ed25519 …" is cut off'],
    ["of RSA, cut off", rsa.slice(0, -41), '"ssh-rsa …" is cut off'],
    ["of RSA, without its padding", rsa.replace(/=+$/, "").slice(0, -1), '"ssh-rsa …" is cut off'],
    [
      "longer than a key",
      `ssh-ed25519 ${Buffer.concat([Buffer.from(blob, "base64"), of(3)]).toString("base64")}`,
      "is cut off",
    ],
    ["with something after its fields", keyOf("ssh-ed25519", of(32), "more"), "is cut off"],
    ["broken by a space", `ssh-ed25519 ${blob.slice(0, 30)} ${blob.slice(30)}`, "is cut off"],
    ["with a character that is not base64", `ssh-ed25519 ${blob.slice(0, 30)}!${blob.slice(30)}`, "is cut off"],
    ["of another type than its first word", `ssh-rsa ${blob}`, '"ssh-rsa …" is cut off, changed or of another type'],
    ["of another curve than its first word", nistp256.replace("nistp256", "nistp384"), "or of another type"],
    ["of RSA that is too short", keyOf("ssh-rsa", of(3), of(97)), "is cut off"],
    ["on a token, cut off", keyOf("sk-ssh-ed25519@openssh.com", of(32)), "is cut off"],
    ["of DSA", keyOf("ssh-dss", of(129), of(21), of(128), of(128)), "is a DSA key, which sshd no longer accepts"],
    ["two in one", `${key} ${rsa}`, "is two keys"],
    ["two on two lines", `${key}\n${rsa}`, "is more than one line"],
    ["with a line break at the end", `${key}\n`, "is more than one line"],
    ["with options before it", `no-pty,from="203.0.113.7" ${key}`, "has options before the key"],
    ["a certificate", keyOf("ssh-ed25519-cert-v01@openssh.com", of(32)), "is not valid"],
    ["without a type", blob, "is not valid"],
    ["nothing", "", '"" is not valid'],
  ])("is refused, and not shown: %s", (_, entry, sentence) => {
    const found = mistakesOf({ operatorKeys: [key, entry] });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/^convex-droplet:operatorKeys\[1\]: /);
    expect(found[0]).toContain(sentence);
    expect(found[0]).toContain(
      "Set it with: npx pulumi config set --stack test --path 'operatorKeys[1]' < ~/.ssh/id_ed25519.pub",
    );
    for (const word of entry.split(/\s+/).filter((part) => part.length > 40)) expect(found[0]).not.toContain(word);
  });

  it("is refused if it is private, whole or line by line", () => {
    const lines = pair.private.trim().split("\n");
    const [whole = ""] = mistakesOf({ operatorKeys: [pair.private] });
    expect(whole).toMatch(
      /^convex-droplet:operatorKeys\[0\]: is a private key, it should be the public one, from the file that ends in \.pub\. /,
    );
    const all = [whole, ...mistakesOf({ operatorKeys: lines })].join("\n");
    for (const line of lines.filter((text) => text.length > 8 && !text.startsWith("-----")))
      expect(all).not.toContain(line);
  });
});

/** ssh2 makes a public key that is too short if its first byte is zero. */
function ed25519Pair() {
  for (;;) {
    const made = generateKeyPairSync("ed25519", { comment: "me@laptop" });
    if (Buffer.from(made.public.split(" ")[1] ?? "", "base64").length === 51) return made;
  }
}
