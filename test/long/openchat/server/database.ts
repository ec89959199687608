import { readdirSync, readFileSync } from "node:fs";

import type { ClientConfig } from "pg";

/** How to connect to a URL, which has to name its database, and to verify the server. */
export function configurationOf(variable: string): ClientConfig {
  const url = new URL(process.env[variable] ?? "");
  if (url.pathname.length < 2) throw new Error(`${variable}: names no database`);
  if (url.searchParams.get("sslmode") !== "require") throw new Error(`${variable}: does without TLS`);
  // Otherwise it would replace the authority that follows.
  url.search = "";
  return { connectionString: url.href, ssl: { ca: readFileSync(process.env["PGSSLROOTCERT"] ?? "", "utf8") } };
}

/** The migrations of this revision, in their order. */
export function migrations(): { number: number; sql: string }[] {
  return readdirSync("migrations")
    .map((file) => ({ number: Number.parseInt(file, 10), sql: readFileSync(`migrations/${file}`, "utf8") }))
    .filter(({ number }) => number <= Number(process.env["REVISION"]))
    .toSorted((one, other) => one.number - other.number);
}
