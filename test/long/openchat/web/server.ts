import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { setTimeout } from "node:timers/promises";

/** Serves the page. Its server side reads the same variables as the build, so they have to be the same. */
const { PORT = "3001" } = process.env;
/** How long it takes to render a page, in milliseconds; so that requests are under way whenever something happens. */
const RENDERING = 200;

const built = JSON.parse(readFileSync("built.json", "utf8")) as Record<string, string>;
const page = readFileSync("index.html", "utf8");
for (const [name, value] of Object.entries(built)) {
  if (name === "REVISION" || process.env[name] === value) continue;
  console.error(
    `${name} is ${process.env[name] ?? "not configured"}, and ${value} in the pages, which are from the build`,
  );
  process.exit(1);
}
const empty = Object.entries(process.env).filter(([name, value]) => /POSTHOG/.test(name) && value === "");
if (empty.length > 0) throw new Error(`${empty.join(", ")}: empty, which is not the same as absent`);

const server = createServer((request, response) => {
  void setTimeout(RENDERING).then(() => {
    const found = new URL(request.url ?? "/", "http://web").pathname === "/";
    response
      .writeHead(found ? 200 : 404, { "content-type": "text/html; charset=utf-8" })
      .end(found ? page : "not found");
  });
});
server.listen(Number(PORT), "0.0.0.0", () => {
  console.log(`web ${built["REVISION"] ?? ""} listening on ${PORT}`);
});
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
