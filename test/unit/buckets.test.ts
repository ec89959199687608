import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";
import { afterAll, beforeEach, describe, expect, it } from "vitest";

import { namedValues } from "../../contract/scripts.ts";

const folder = mkdtempSync(path.join(tmpdir(), "convex-droplet-buckets-"));
const mountpoint = path.join(folder, "volume");
afterAll(() => {
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  rmSync(mountpoint, { recursive: true, force: true });
  mkdirSync(path.join(mountpoint, "data/storage"), { recursive: true });
});

const USES = ["exports", "files", "modules", "search", "snapshot-imports"];

/** What buckets.sh says if its probe prints these lines and fails. Nothing reaches Docker or the machine's own files. */
async function told(...lines: string[]): Promise<string> {
  const docker = path.join(folder, "docker");
  writeFileSync(
    docker,
    `#!/bin/sh\ncat > /dev/null\nprintf '%s\\n' ${lines.map((line) => `'${line}'`).join(" ")}\nexit 1\n`,
  );
  chmodSync(docker, 0o755);
  const { exitCode, stderr } = await execa("bash", ["machine/buckets/buckets.sh"], {
    env: { PATH: `${folder}:${process.env["PATH"] ?? ""}` },
    input: namedValues({
      ...{ image: "image@sha256:1", network: "convex", mountpoint, endpoint: "https://s3.example.com", region: "nyc3" },
      ...{ key: "ID", key_secret: "the-secret", buckets: USES.map((use) => `mine-${use}`) },
    }),
    reject: false,
  });
  expect(exitCode).toBe(1);
  expect(stderr).not.toContain("the-secret");
  return stderr;
}

const URL = "https://s3.example.com/mine-modules";
const answer = (code: string, message: string) => `<Error><Code>${code}</Code><Message>${message}</Message></Error>`;

describe("a bucket that cannot be used", () => {
  it.each([
    [
      "6",
      "000",
      "curl: (6) Could not resolve host",
      "s3.example.com does not resolve inside of the backend's network.",
    ],
    [
      "7",
      "000",
      "curl: (7) Failed to connect",
      "s3.example.com cannot be reached from inside of the backend's network (curl: (7)",
    ],
    ["28", "000", "curl: (28) timed out", "s3.example.com cannot be reached"],
    ["60", "000", "curl: (60) SSL certificate", "s3.example.com has a certificate that the backend does not trust"],
    [
      "0",
      "403",
      answer("InvalidAccessKeyId", "No such key"),
      "s3.example.com refuses the key. If the stack makes it: ",
    ],
    ["0", "403", answer("SignatureDoesNotMatch", "No"), "otherwise set fileAccessKey and fileSecretKey"],
    ["0", "404", answer("NoSuchBucket", "No"), "bucket mine-modules is not at s3.example.com. Make it there"],
    ["0", "301", answer("PermanentRedirect", "No"), "bucket mine-modules is in another region than nyc3"],
    [
      "0",
      "403",
      answer("AccessDenied", "Access Denied"),
      "an object in bucket mine-modules may not be written with this key (403 AccessDenied: Access Denied). It should be able to",
    ],
    ["0", "500", "", "bucket mine-modules answers '500 ' when an object is to be written"],
    [
      "22",
      "000",
      "curl: (22) something",
      "bucket mine-modules at s3.example.com cannot be used (curl: (22) something)",
    ],
  ])("is named with the cause and the fix: %s, %s %s", async (code, status, text, message) => {
    const said = await told(URL, "written", code, status, text);
    expect(said).toContain(`buckets.sh: error: fileStorage: `);
    expect(said).toContain(message);
    expect(said).toContain("No backend was started with it");
  });

  it("is not one that the probe could not start for", async () => {
    expect(await told()).toContain("no container of image@sha256:1 could use the buckets, see above");
  });

  it("is not tried if the instance on the volume has its files elsewhere", async () => {
    writeFileSync(path.join(mountpoint, "instance"), "mark\n");
    const onVolume = await told();
    expect(onVolume).toContain(
      "leads to the files in bucket mine-files at https://s3.example.com, but the instance on the volume has its files on the volume since its first start",
    );
    expect(onVolume).not.toContain("the same objects");
    writeFileSync(path.join(mountpoint, "data/storage/.buckets"), "https://s3.example.com other-files\n");
    expect(await told()).toContain(
      "has its files in bucket other-files at https://s3.example.com since its first start",
    );
  });

  it("is tried after the printed command has said that it has the same objects", async () => {
    writeFileSync(path.join(mountpoint, "instance"), "mark\n");
    writeFileSync(path.join(mountpoint, "data/storage/.buckets"), "https://s3.example.com other-files\n");
    const [, printed = ""] = /with the same objects: npm run ssh -- --stack \S* ?'?([^'\n]+)/.exec(await told()) ?? [];
    await execa("bash", ["-c", printed]);
    expect(await told()).toContain("no container of image@sha256:1 could use the buckets");
  });
});
