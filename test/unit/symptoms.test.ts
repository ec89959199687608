import { readFile } from "node:fs/promises";

import { execa } from "execa";
import { describe, expect, it } from "vitest";

/** A log line of each kind from a backend that does not start, with the cause and the fix that the reader gets. */
const SYMPTOMS: [log: string, cause: string, fix: string][] = [
  [
    "Error: cluster url already contains db name: /convex_self_hosted",
    "POSTGRES_URL names a database",
    "--replace '**convex-backend'",
  ],
  [
    "Error: error performing TLS handshake: invalid peer certificate: UnknownIssuer",
    "the backend does not trust PostgreSQL's certificate",
    "--replace '**convex-server' --replace '**convex-backend'",
  ],
  [
    "Error: Failed to read CA file: /convex/postgres-authority-384fb9a4.pem",
    "the backend does not trust PostgreSQL's certificate",
    "--replace '**convex-server' --replace '**convex-backend'",
  ],
  [
    "Error: error performing TLS handshake: invalid peer certificate: Expired",
    "PostgreSQL's certificate has expired",
    "run npx pulumi up --replace '**convex-server', which renews it and writes it again",
  ],
  [
    "Error: error performing TLS handshake: invalid peer certificate: certificate expired: verification time 1 (UNIX)",
    "PostgreSQL's certificate has expired",
    "run npx pulumi up --replace '**convex-server'",
  ],
  [
    "Error: error performing TLS handshake: invalid peer certificate: NotValidYet",
    "PostgreSQL's certificate is not valid yet",
    "run npx pulumi up --replace '**convex-postgres-authority'",
  ],
  [
    "Error: error performing TLS handshake: invalid peer certificate: NotValidForName",
    "the backend does not trust PostgreSQL's certificate",
    "--replace '**convex-server' --replace '**convex-backend'",
  ],
  [
    "Error: error performing TLS handshake: server does not support TLS",
    "the backend requires TLS, and PostgreSQL does not offer it",
    "run npx pulumi up --replace '**convex-server'",
  ],
  [
    'Error: db error: FATAL: database "convex_self_hosted" does not exist',
    "the database named after the instance is missing",
    "npx pulumi up --refresh --run-program --target '**convex-database' --target '**convex-privacy' --target-dependents --replace '**convex-privacy'",
  ],
  [
    "Error: failed to lookup address information: Name or service not known",
    "the container does not know host.docker.internal",
    "--replace '**convex-backend'",
  ],
  [
    "Error: error connecting to server: Connection refused (os error 111)",
    "PostgreSQL does not listen where the container looks for it",
    "run npx pulumi up --replace '**convex-server'",
  ],
  [
    'Error: db error: FATAL: no pg_hba.conf entry for host "172.30.0.2", user "convex", database "convex_self_hosted", no encryption',
    "PostgreSQL's host rules do not admit the container",
    "pulumi up --replace '**convex-server'",
  ],
  [
    'Error: db error: FATAL: password authentication failed for user "convex"',
    "the role's password is not the one in the stack's state",
    "pulumi up --replace '**convex-password'",
  ],
  [
    "Error: db error: FATAL: remaining connection slots are reserved for roles with the SUPERUSER attribute",
    "all connections of the server are in use",
    "lower postgresPoolSize",
  ],
  [
    "Error: failed to acquire lease: Already acquired with higher timestamp",
    "another backend writes to the same database, or this machine's clock went back",
    "stop the other backend",
  ],
  ["ERROR Lease Lost", "another backend writes to the same database", "stop the other backend"],
  [
    'Error: Database was initialized with Some(Local { dir: "/convex/data/storage" }), but backend started up with S3.',
    "a backend keeps the storage of its first start",
    "set fileStorage back to what it was",
  ],
  [
    "Error: Cannot use s3 storage path shop-1b2c/ with store",
    "belong to an instance with another name",
    "set instanceName back to what it was",
  ],
  ["Error: No AWS credentials were found by the default provider chain.", "no key for them", "recreate the container"],
  [
    "ERROR Failed to create multipart upload: NoSuchBucket",
    "is gone, or refuses its key",
    "--replace '**convex-buckets'",
  ],
  [
    "thread 'main' panicked at crates/migrations/src/lib.rs: Transition too old!",
    "the image is too new for data this old",
    "start an older image first",
  ],
  ["Error: No space left on device (os error 28)", "a disk is full", "grow the volume with volumeSizeGb"],
];

async function explain(log: string): Promise<string> {
  const { stdout } = await execa(
    "bash",
    [
      "-euo",
      "pipefail",
      "-c",
      'pulumi_command() { echo "npx pulumi $*"; }; source machine/lib/sql.sh; source machine/convex/symptoms.sh; explain_symptoms',
    ],
    {
      input: log,
    },
  );
  return stdout;
}

describe("a backend's log", () => {
  it.each(SYMPTOMS)("is explained if it contains: %s", async (line, cause, fix) => {
    const [told = "", mended = "", ...more] = (await explain(`INFO starting\n${line}\nINFO done`)).split("\n");
    expect(told).toMatch(/^cause: /);
    expect(told).toContain(cause);
    expect(mended).toMatch(/^ {2}fix: /);
    expect(mended).toContain(fix);
    expect(more).toEqual([]);
  });

  it("has each of its messages in docs/troubleshooting.md", async () => {
    const page = await readFile("docs/troubleshooting.md", "utf8");
    const messages = [...page.matchAll(/`([^`]+)`/g)].map(([, message = ""]) => message.split("…"));
    for (const [line] of SYMPTOMS) {
      expect(
        messages.some((parts) => parts.every((part) => line.includes(part.trim()))),
        line,
      ).toBe(true);
    }
  });

  it("gets each explanation once, even if a message is repeated", async () => {
    const log = [...SYMPTOMS, ...SYMPTOMS].map(([line]) => line).join("\n");
    expect((await explain(log)).split("\n").filter((line) => line.startsWith("cause: "))).toHaveLength(18);
  });

  it("gets no explanation if it contains no known message", async () => {
    const log = "INFO Connected to Postgres database: convex-self-hosted\nINFO backend listening on 0.0.0.0:3210";
    expect(await explain(log)).toBe("");
  });
});
