import { createServer, type IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";

import pg from "pg";

import { configurationOf } from "./database.ts";

/** What the real one does at its borders: its variables, its database, its ping, and who may call it. */
const NEEDED = [
  ...["DATABASE_URL", "BETTER_AUTH_SECRET", "BETTER_AUTH_URL", "SERVER_INTERNAL_URL", "CORS_ORIGIN"],
  ...["ELECTRIC_SERVICE_URL", "ELECTRIC_GATEKEEPER_SECRET"],
];
const { PORT = "3000", REVISION = "" } = process.env;
/** How long a chat's answer takes, in milliseconds; so that requests are under way whenever something happens. */
const THINKING = 200;

const missing = NEEDED.filter((name) => (process.env[name] ?? "") === "");
if (missing.length > 0) {
  console.error(`${missing.join(", ")}: not set`);
  process.exit(1);
}
const empty = Object.keys(process.env).filter((name) => name.includes("POSTHOG") && process.env[name] === "");
if (empty.length > 0) {
  console.error(`${empty.join(", ")}: empty, which is not the same as absent`);
  process.exit(1);
}

const pool = new pg.Pool({ ...configurationOf("DATABASE_URL"), max: 10, connectionTimeoutMillis: 5000 });
pool.on("error", (error) => {
  console.error(`lost a connection: ${error.message}`);
});
const origins = (process.env["CORS_ORIGIN"] ?? "").split(",");

async function answer(request: IncomingMessage): Promise<{ status: number; body: unknown }> {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://server");
  switch (`${request.method ?? ""} ${pathname}`) {
    case "GET /api/__debug/db/ping": {
      if (searchParams.get("debug") !== "1") break;
      const { rowCount } = await pool.query("SELECT FROM migrations WHERE number = $1", [REVISION]);
      return rowCount === 1
        ? { status: 200, body: { ok: true } }
        : { status: 500, body: { ok: false, error: `migration ${REVISION} is missing` } };
    }
    case "GET /api/messages": {
      const { rows } = await pool.query<{ text: string }>("SELECT text FROM messages ORDER BY id");
      return { status: 200, body: rows.map((row) => row.text) };
    }
    case "POST /api/messages":
      await pool.query("INSERT INTO messages (text) VALUES ($1)", [await text(request)]);
      return { status: 200, body: {} };
    case "GET /api/reply": {
      await setTimeout(THINKING);
      const { rows } = await pool.query<{ count: string }>("SELECT count(*) FROM messages");
      return { status: 200, body: { revision: REVISION, known: Number(rows[0]?.count) } };
    }
  }
  return { status: 404, body: {} };
}

const server = createServer((request, response) => {
  const { origin = "" } = request.headers;
  const allowed = origins.includes(origin) ? { "access-control-allow-origin": origin } : {};
  answer(request)
    .catch((error: unknown) => ({ status: 500, body: { ok: false, error: String(error) } }))
    .then(({ status, body }) => {
      response.writeHead(status, { ...allowed, "content-type": "application/json" }).end(JSON.stringify(body));
    }, console.error);
});
server.listen(Number(PORT), "0.0.0.0", () => {
  console.log(`server ${REVISION} listening on ${PORT}`);
});
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
