import { generateKeyPairSync } from "node:crypto";

import { describe, expect, test } from "vitest";
import { parseHostKey } from "../../sandbox/plugins/command/host-key.ts";
import { copyToRemote } from "../../sandbox/plugins/command/copy-to-remote.ts";
import { remoteCommand } from "../../sandbox/plugins/command/remote-command.ts";
import { expectSdkProperties } from "./plugin-declarations.ts";

test("Command has the properties of the npm SDK", () => {
  expectSdkProperties(remoteCommand, "command", "remote/command", "Command");
});

test("CopyToRemote has the properties of the npm SDK", () => {
  expectSdkProperties(copyToRemote, "command", "remote/copyToRemote", "CopyToRemote");
});

describe("a host key", () => {
  const PRIVATE_KEY = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const BLOB = "AAAAC3NzaC1lZDI1NTE5AAAAIIWz/3nrkuMlsumhO/JLMhF2G9s6qP8EHdRdD+vNYpSp";

  test.each([
    ["with a newline", `ssh-ed25519 ${BLOB}\n`],
    ["with a comment", `ssh-ed25519 ${BLOB} root@host`],
  ])("is read %s", (_how, line) => {
    expect(parseHostKey(line)).toEqual({ algorithm: "ssh-ed25519", blob: Buffer.from(BLOB, "base64") });
  });

  test.each([
    ["nothing", ""],
    ["a fingerprint", "SHA256:2XVlmyJm6436Ary+BtTAjNolPRac8tvZ9Qq/Brbl+z4"],
    ["a private key", PRIVATE_KEY],
  ])("is refused if it is %s, and the message does not quote it", (_what, line) => {
    expect(() => parseHostKey(line)).toThrow(/^connection\.hostKey: is not a public key, it must be a line like/);
  });
});
