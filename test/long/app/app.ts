import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { hostname } from "node:os";
import { setTimeout } from "node:timers/promises";

/**
 * `/` shows the environment and the container, `/ask?of=VARIABLE` what answers at the URL in a variable, `/slow` answers after two
 * seconds. With BROKEN, nothing is healthy, and with `ends`, nothing runs; with BAD, `/ping` says that it is not ok.
 */
const { PORT = "3000", BROKEN = "", BAD = "", DATA = "" } = process.env;

if (BROKEN === "ends") throw new Error("broken on purpose");

if (DATA !== "") {
  mkdirSync(`${DATA}/own`, { recursive: true });
  writeFileSync(`${DATA}/own/starts`, `${read(`${DATA}/own/starts`)}x`);
}

async function answer(url: URL): Promise<{ status: number; body: unknown }> {
  if (url.pathname === "/health") return { status: BROKEN === "" ? 200 : 500, body: {} };
  if (url.pathname === "/ping") return { status: 200, body: { ok: BAD === "" } };
  if (url.pathname === "/slow") await setTimeout(2000);
  if (url.pathname !== "/ask")
    return { status: 200, body: { ...process.env, container: hostname(), starts: read(`${DATA}/own/starts`) } };
  const asked = await fetch(process.env[url.searchParams.get("of") ?? ""] ?? "");
  return { status: asked.status, body: { text: await asked.text() } };
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

const server = createServer((request, response) => {
  answer(new URL(request.url ?? "/", "http://app"))
    .catch((error: unknown) => ({ status: 502, body: { error: String(error), cause: String((error as Error).cause) } }))
    .then(({ status, body }) => {
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    }, console.error);
});
// It starts slowly, so that requests that come too early are seen.
await setTimeout(2000);
server.listen(Number(PORT), "0.0.0.0", () => {
  console.log(`app listening on ${PORT}`);
});
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
