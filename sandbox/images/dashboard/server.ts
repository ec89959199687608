import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import path from "node:path";

/** The real dashboard's headers, including the two years for which browsers must use HTTPS. */
const HEADERS = {
  "content-type": "text/html; charset=utf-8",
  "strict-transport-security": "max-age=63072000; includeSubDomains; preload",
  "x-frame-options": "SAMEORIGIN",
  "content-security-policy": "frame-ancestors 'self'",
};

const { NEXT_PUBLIC_DEPLOYMENT_URL = "", PORT = "6791", HOSTNAME = "0.0.0.0" } = process.env;

const template = readFileSync(path.join(import.meta.dirname, "page.html"), "utf8");
// The browser calls the deployment; this server never does. `<` is escaped so that no value can end the script element.
const settings = JSON.stringify({ deploymentUrl: NEXT_PUBLIC_DEPLOYMENT_URL }).replaceAll("<", "\\u003c");
const page = template.replace("{{SETTINGS}}", () => settings);

const server = createServer((request, response) => {
  const found = new URL(request.url ?? "/", "http://dashboard").pathname === "/";
  response.writeHead(found ? 200 : 404, HEADERS);
  response.end(found ? page : "This page could not be found.");
});
server.listen(Number(PORT), HOSTNAME, () => {
  console.log(`dashboard listening on ${HOSTNAME}:${PORT}`);
});

// Without these handlers, the first process of a container ignores both signals.
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.on(signal, () => {
    server.close(() => process.exit(0));
    server.closeAllConnections();
  });
