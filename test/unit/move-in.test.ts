import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterAll, describe, expect, it } from "vitest";

import type { Place } from "../../operations/move-in/destination.ts";
import { OldFiles } from "../../operations/move-in/old-files.ts";
import { readRequest } from "../../operations/move-in/options.ts";
import { interruptedSwap, otherIdentity, refusal, type Wanted } from "../../operations/move-in/refusals.ts";
import type { Installation } from "../../operations/move-in/source.ts";

const FINGERPRINT = `SHA256:${"a".repeat(43)}`;
const folder = mkdtempSync(path.join(tmpdir(), "convex-droplet-move-in-"));
const identity = path.join(folder, "id");
writeFileSync(identity, "a private key");
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const read = (args: string[], env = {}) => readRequest(["--stack", "dev", ...args], env);

describe("the arguments", () => {
  it.each([
    ["root@old.example.com", { user: "root", host: "old.example.com", port: undefined }],
    ["old.example.com", { user: "root", host: "old.example.com", port: undefined }],
    ["me@192.0.2.7:2222", { user: "me", host: "192.0.2.7", port: 2222 }],
    ["me@[2001:db8::1]:22", { user: "me", host: "2001:db8::1", port: 22 }],
  ])("name the old machine: %s", (from, machine) => {
    const request = read(["--from", from, "--identity", identity, "--host-key", FINGERPRINT]);
    expect(request).toMatchObject({ verb: "rehearse", yes: false, replace: false });
    expect(request?.from).toEqual({
      machine: { ...machine, privateKey: Buffer.from("a private key"), fingerprint: FINGERPRINT },
      container: "",
    });
  });

  it("use the SSH agent without --identity", () => {
    expect(read(["--from", "old"], { SSH_AUTH_SOCK: "/run/agent" })?.from).toMatchObject({
      machine: { agent: "/run/agent", fingerprint: undefined },
    });
  });

  it.each<[string[], string]>([
    [[], "is not named, it should be either --from USER@HOST, or both --dump FILE and --files TAR"],
    [["--dump", "a"], "is not named"],
    [["--dump", "a", "--files", "b", "--from", "old"], "is not named"],
    [["--from=-oProxyCommand=x"], '--from: "-oProxyCommand=x" is not valid'],
    [["--from=root@", `--identity=${identity}`], '--from: "root@" is not valid'],
    [["--from", "old"], "--identity: is not given, and there is no SSH agent"],
    [["--from", "old", "--identity", "/nowhere/id"], "--identity: /nowhere/id cannot be read"],
    [
      ["--from", "old", `--identity=${identity}`, "--host-key", "ssh-ed25519"],
      '--host-key: "ssh-ed25519" is not valid',
    ],
    [["--rehearse", "--cut-over", "--from", "old"], "--rehearse and --cut-over: exclude each other"],
  ])("are refused: %j", (args, message) => {
    expect(() => read(args)).toThrow(message);
  });

  it("give the command to run next, quoted for a shell", () => {
    const request = read(["--dump", "my dump", "--files", "f.tar", "--replace"]);
    expect(request?.again("--cut-over", "--yes")).toBe(
      "npm run move-in -- --stack dev --dump 'my dump' --files f.tar --replace --cut-over --yes",
    );
  });
});

describe("an installation", () => {
  const SECRET = "a1".repeat(32);
  const OTHER = "b2".repeat(32);
  const OLD: Installation = {
    description: "",
    identity: { name: "swarm-dev", secret: SECRET },
    secretCommand: "ssh root@old cat /data/credentials/instance_secret",
    database: "postgres",
    storage: "local",
    version: 16,
    bytes: { database: 1e9, files: 1e9 },
    now: 0,
  };
  const PLACE: Place = { version: 17, free: 1e11, ownDocuments: 0, swapping: undefined, restoring: undefined };
  const WANTED: Wanted = {
    stack: "dev",
    identity: { name: "swarm-dev", secret: SECRET },
    bucketServer: undefined,
    replace: false,
  };

  it("with the stack's name and secret can move, and so can one whose secret is written in capitals", () => {
    expect(refusal(OLD, PLACE, WANTED)).toBeUndefined();
    const capitals = { ...OLD, identity: { name: "swarm-dev", secret: SECRET.toUpperCase() } };
    expect(refusal(capitals, PLACE, WANTED)).toBeUndefined();
    expect(refusal({ ...OLD, identity: undefined }, PLACE, WANTED)).toBeUndefined();
  });

  it.each<[string, Partial<Installation>, Partial<Place>, string]>([
    ["SQLite", { database: "sqlite" }, {}, "in SQLite, they should be in PostgreSQL; move it by export and import"],
    ["MySQL", { database: "mysql" }, {}, "in MySQL"],
    ["S3", { storage: "s3" }, {}, "has its files in S3"],
    ["no secret", { identity: { name: "swarm-dev", secret: "" } }, {}, "has no secret of 64 hexadecimal digits"],
    ["another secret", { identity: { name: "swarm-dev", secret: OTHER } }, {}, "another secret than the old instance"],
    ["another name", { identity: { name: "other", secret: SECRET } }, {}, "another name (swarm-dev)"],
    ["a newer PostgreSQL", { version: 18 }, {}, "is of PostgreSQL 18, the droplet has 17"],
    ["too much data", {}, { free: 3e9 }, "has 2.8 GiB free, it should have 3.8 GiB"],
    ["documents in its place", {}, { ownDocuments: 7 }, "has 7 documents and files of its own, it should have none"],
    [
      "a restore that was interrupted before it changed anything",
      {},
      { restoring: { phase: "ready", request: "latest " } },
      "a restore was interrupted and had changed nothing yet, it should be complete. Now, finish it with: npm run restore -- --stack dev --to latest --yes, or drop it with: npm run restore -- --stack dev --forget",
    ],
    [
      "a restore that was interrupted while it swapped",
      {},
      { restoring: { phase: "swap", request: "2026-11-26T14:05:00Z the-volume" } },
      "a restore was interrupted, it should be complete. Now, finish it with: npm run restore -- --stack dev --to 2026-11-26T14:05:00Z --stanza the-volume --yes, or restore to another time, see: npm run backup -- --stack dev",
    ],
  ])("with %s is refused, without its secret", (_what, old, place, message) => {
    const said = refusal({ ...OLD, ...old }, { ...PLACE, ...place }, WANTED);
    expect(said).toContain(message);
    expect(said).not.toMatch(/(a1|b2){32}/);
  });

  it("with files in a folder cannot move into a stack with files in buckets", () => {
    expect(refusal(OLD, PLACE, { ...WANTED, bucketServer: "fra1.digitaloceanspaces.com" })).toBe(
      "stack dev: has its files in buckets at fra1.digitaloceanspaces.com, and the old instance in a folder, which Convex cannot change; " +
        'move it by export and import, see "By export and import" in docs/move-in.md',
    );
  });

  it.each([
    ["copy of stack prod to latest", "npm run restore -- --stack dev --from prod --to latest --yes"],
    ["cut-over", "npm run move-in -- --stack dev --cut-over --yes, with the other options that it had"],
  ])("is not reset after a %s that was interrupted, and the command that finishes it is named", (request, command) => {
    expect(interruptedSwap("dev", request)).toBe(
      `the droplet: a ${request} was interrupted, it should be complete. Now, finish it with: ${command}`,
    );
  });

  it("may replace rows if that is wanted", () => {
    expect(refusal(OLD, { ...PLACE, ownDocuments: 7 }, { ...WANTED, replace: true })).toBeUndefined();
  });

  it("with another identity gets the commands for the same one, with the secret through a pipe", () => {
    expect(otherIdentity("other", OLD.secretCommand, WANTED).split("\n").slice(1)).toEqual([
      "  npx pulumi config set --stack dev instanceName other",
      "  ssh root@old cat /data/credentials/instance_secret | npx pulumi config set --stack dev --secret instanceSecret",
      "  npx pulumi up --stack dev",
    ]);
  });

  it("in files must have a dump in the custom format", async () => {
    const [dump, plain] = ["dump", "plain.sql"].map((name) => path.join(folder, name)) as [string, string];
    writeFileSync(dump, "PGDMP...");
    writeFileSync(plain, "-- PostgreSQL database dump");
    await expect(OldFiles.open(plain, dump)).rejects.toThrow("is not in pg_dump's custom format");
    await expect(OldFiles.open(dump, path.join(folder, "none"))).rejects.toThrow("--files: ");
    expect(await (await OldFiles.open(dump, plain)).look()).toMatchObject({
      database: "postgres",
      bytes: { database: 40 },
    });
  });
});
