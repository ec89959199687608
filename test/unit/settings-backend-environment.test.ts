import { readFile } from "node:fs/promises";
import path from "node:path";

import { describe, expect, it } from "vitest";

import { refusedBackendVariable } from "../../settings/kinds/backend-environment.ts";
import { loadSettings } from "../../settings/load.ts";
import { configure, mockEngine } from "./program.ts";

describe("the backend's environment", () => {
  it.each([
    ["POSTGRES_URL", "postgresql://u:p@h:5432/app", "cluster url already contains db name"],
    ["POSTGRES_URL", "postgresql://u:p@h:5432", "is built by this program. Remove it."],
    ["DATABASE_URL", "postgresql://u:p@h/app", "is built by this program and names a database (app)"],
    ["REDACT_LOGS_TO_CLIENT", "false", "any text switches it on"],
    ["S3_STORAGE_FILES_BUCKET", "files", "is set by this program from fileStorage"],
    ["AWS_REGION", "eu-central-1", "all of the variables for S3 or none"],
    ["PG_CA_FILE", "/ca.pem", "is set by this program."],
    ["DO_NOT_REQUIRE_SSL", "true", "would let the backend accept any PostgreSQL server"],
    ["SSLKEYLOGFILE", "/keys", "would write session keys to disk"],
    ["RUST_LOG", "trace", "is set by this program from logLevel"],
    ["STORAGE_DIR", "/files", "would move the stored files from the volume"],
    ["DATA_DIR", "/srv", "would move all of the backend's files from the volume"],
    ["CREDENTIALS_DIR", "/srv", "would move the instance's name and secret from the volume"],
    ["SQLITE_DB", "/srv/db", "would move a database from the volume"],
    ["TMPDIR", "/tmp", "would move files during an upload from the volume"],
    // Variables of the shell, the loader, Node and HTTP clients.
    ...["PATH", "HOME", "BASH_ENV", "ENV", "IFS", "SHELLOPTS", "LD_PRELOAD", "NODE_OPTIONS", "https_proxy"].map(
      (name) => [name, "1", "is not one of the backend's knobs"],
    ),
    // Variables that send data and errors to somebody else.
    ...["SENTRY_DSN", "DEPLOYMENT_USAGE_WEBHOOK_URL", "MYSQL_CA_FILE", "ISOLATE_V8_FLAGS"].map((name) => [
      name,
      "1",
      "is not one of the backend's knobs",
    ]),
    ["udf_cache_max_size", "1", "is not one of the backend's knobs"],
    ["UDF_CACHE_MAX_SIZE", "100 MB", "is neither a number nor true or false"],
    ["UDF_CACHE_MAX_SIZE", "", "is neither a number nor true or false"],
    ["LOG_FORMAT", "xml", "should be json, compact or pretty"],
    // Names that every object has.
    ["constructor", "1", "is not one of the backend's knobs"],
    ["toString", "1", "is not one of the backend's knobs"],
  ] as [string, string, string][])("refuses %s = %j", (name, value, sentence) => {
    const fault = refusedBackendVariable(name, value);
    const refused = JSON.stringify(fault);
    expect(fault?.sentence).toContain(sentence.replace(" Remove it.", ""));
    expect(refused).toMatch(/(Remove it|Rename it|Correct it)/);
    expect(refused).not.toContain("u:p@");
  });

  it.each([
    ["UDF_CACHE_MAX_SIZE", "104857600"],
    ["V8_ACTION_USER_TIMEOUT_SECS", "600"],
    ["APPLICATION_MAX_CONCURRENT_QUERIES", "32"],
    ["HTTP_SERVER_TIMEOUT_SECONDS", "600"],
    ["POSTGRES_TIMEOUT_SECONDS", "60"],
    ["INDEX_BACKFILL_ENABLE", "true"],
    ["FUNCTION_LIMIT_WARNING_RATIO", "0.9"],
    ["RUST_BACKTRACE", "full"],
    ["LOG_FORMAT", "json"],
    ["CONVEX_RELEASE_VERSION_DEV", "2026.8"],
  ])("accepts %s = %j", (name, value) => {
    expect(refusedBackendVariable(name, value)).toBeUndefined();
  });

  it("names the setting for storage in S3", () => {
    const { fix } = refusedBackendVariable("S3_STORAGE_FILES_BUCKET", "files") as { fix: string };
    expect(fix).toMatch(/^Remove it. To keep the files of a new stack in buckets: .* fileStorage spaces; see/);
  });

  it("refuses everything that the image's start script reads", async () => {
    const script = path.resolve("sandbox/images/backend/run_backend.sh");
    const names = new Set(
      [...(await readFile(script, "utf8")).matchAll(/\$\{?([A-Z][A-Z0-9_]+)/g)].map(([, name]) => name),
    );
    expect(names.size).toBeGreaterThan(10);
    for (const name of names) expect(refusedBackendVariable(name ?? "", "1"), name).toBeDefined();
  });

  it("is refused with the setting to change", async () => {
    await mockEngine();
    configure({ backendEnvironment: { STORAGE_DIR: "/files", UDF_CACHE_MAX_SIZE: "100" } });
    expect(() => loadSettings()).toThrow(
      /has one mistake:\n {2}convex-droplet:backendEnvironment\.STORAGE_DIR: would move .*$/,
    );
  });
});
