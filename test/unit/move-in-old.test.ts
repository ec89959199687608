import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";
import { afterEach, beforeEach, expect, it } from "vitest";

const SECRET = "a1".repeat(32);
const URL = "postgresql://convex:p%40ss%2Fw%3Ard%251@postgres:5432";

/** An old machine: a folder with the backend's files, and stand-ins for the programs that the script calls. */
let folder: string;
let environment: Record<string, string>;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "convex-droplet-old-"));
  for (const inner of ["bin", "data/credentials", "data/storage/files", "data/tmp"]) {
    mkdirSync(path.join(folder, inner), { recursive: true });
  }
  writeFileSync(path.join(folder, "data/credentials/instance_name"), "stored-name\n");
  writeFileSync(path.join(folder, "data/credentials/instance_secret"), `${SECRET}\n`);
  writeFileSync(path.join(folder, "data/storage/files/blob"), "content");
  writeFileSync(path.join(folder, "data/tmp/unfinished"), "x");
  environment = { INSTANCE_NAME: "swarm-dev", INSTANCE_SECRET: SECRET, POSTGRES_URL: URL };
  program("id", "echo 0");
  program(
    "docker",
    `echo "$PGPASSWORD: $*" >> ${folder}/calls
    case "$*" in
      *Config.Env*) cat ${folder}/env ;;
      *.Source*) echo ${folder}/data ;;
      *State.Running*) echo true ;;
      *println\\ \\$name}}*) echo old_default ;;
      *Aliases*) echo "old_default postgres /old-postgres-1" ;;
      "ps --all --quiet") echo 1 ;;
      "ps --quiet") echo 2 ;;
      *'"/convex/data"'*) cat ${folder}/found ;;
      *server_version_num*) echo 160004 ;;
      *pg_database_size*) echo 12345 ;;
      *pg_dump*) echo PGDMP ;;
      *psql*) echo 1 ;;
    esac`,
  );
  writeFileSync(path.join(folder, "found"), "/convex-backend\n\n");
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

function program(name: string, text: string): void {
  writeFileSync(path.join(folder, "bin", name), `#!/bin/bash\n${text}\n`, { mode: 0o755 });
}

async function old(...args: string[]) {
  const lines = Object.entries(environment).map(([name, value]) => `${name}=${value}\n`);
  writeFileSync(path.join(folder, "env"), lines.join(""));
  return execa("bash", ["-s", "--", ...args], {
    env: { PATH: `${folder}/bin:${process.env["PATH"] ?? ""}` },
    input: readFileSync("operations/move-in/old.sh"),
    reject: false,
  });
}

it("finds the backend's container, and its PostgreSQL in another one of its network", async () => {
  const { stdout, stderr } = await old("look", "");
  expect(stderr).toBe("");
  expect(stdout.split("\n")).toEqual(
    expect.arrayContaining([
      "container=convex-backend",
      "name=swarm-dev",
      `secret=${SECRET}`,
      "database=postgres",
      "storage=local",
      `folder=${folder}/data`,
      "server=container old-postgres-1",
      "version=16",
      "bytes=12345",
    ]),
  );
});

it("dumps the database there, with the password only in the environment", async () => {
  expect((await old("dump", "")).stdout).toBe("PGDMP");
  const calls = readFileSync(path.join(folder, "calls"), "utf8").trim().split("\n");
  expect(calls.at(-1)).toBe(
    "p@ss/w:rd%1: exec --env PGPASSWORD old-postgres-1 pg_dump -h 127.0.0.1 -p 5432 -U convex " +
      "--format=custom --no-owner --no-privileges --no-comments -d swarm_dev",
  );
  expect(calls.map((call) => call.slice(call.indexOf(": "))).join()).not.toContain("p@ss");
});

it("takes name and secret from the files if the environment has none, as the image does", async () => {
  environment = { POSTGRES_URL: URL };
  const { stdout } = await old("look", "");
  expect(stdout).toContain(`name=stored-name\nsecret=${SECRET}\n`);
});

it("reads the files without what is unfinished, and only those that are new", async () => {
  const list = async (...since: string[]) =>
    (
      await execa("tar", ["-t"], {
        input: (
          await execa("bash", ["-s", "--", "files", "", ...since], {
            env: { PATH: `${folder}/bin:${process.env["PATH"] ?? ""}` },
            input: readFileSync("operations/move-in/old.sh"),
            encoding: "buffer",
          })
        ).stdout,
      })
    ).stdout.split("\n");
  expect(await list()).toEqual(expect.arrayContaining(["./storage/files/blob", "./credentials/instance_secret"]));
  expect(await list()).not.toContain("./tmp/unfinished");
  expect(await list("99999999999")).not.toContain("./storage/files/blob");
});

it.each<[string, Record<string, string>, string]>([
  ["SQLite", { INSTANCE_NAME: "a" }, "database=sqlite"],
  ["an empty POSTGRES_URL", { POSTGRES_URL: "" }, "database=sqlite"],
  ["MySQL", { MYSQL_URL: "mysql://x" }, "database=mysql"],
  ["the older name of the URL", { DATABASE_URL: URL }, "database=postgres"],
  [
    "S3",
    Object.fromEntries(
      [
        "AWS_REGION",
        ...["EXPORTS", "FILES", "MODULES", "SEARCH", "SNAPSHOT_IMPORTS"].map((use) => `S3_STORAGE_${use}_BUCKET`),
      ].map((name) => [name, "x"]),
    ),
    "storage=s3",
  ],
])("recognizes %s", async (_what, variables, line) => {
  environment = variables;
  expect((await old("look", "")).stdout.split("\n")).toContain(line);
});

it("refuses a choice that it would have to guess, and a machine without root", async () => {
  writeFileSync(path.join(folder, "found"), "/one\n/two\n");
  expect((await old("look", "")).stderr).toBe(
    "error: the old machine: has several containers with /convex/data: one, two. Choose one with --container NAME",
  );
  program("id", 'case "$1" in -u) echo 1000 ;; *) echo me ;; esac');
  expect((await old("look", "")).stderr).toContain("the commands there run as me, they should run as root");
});
