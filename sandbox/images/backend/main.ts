import { once } from "node:events";
import type { Server } from "node:http";
import { networkInterfaces } from "node:os";
import { instanceSecret } from "./admin-key.ts";
import { apiRoutes } from "./api.ts";
import { parseDatabaseUrl } from "./database-url.ts";
import { Deployment } from "./deployment.ts";
import { serveRoutes } from "./http-server.ts";
import { log } from "./log.ts";
import { booleanKnob, parseOptions, type Options } from "./options.ts";
import { LeaseLost, Persistence } from "./persistence.ts";
import { connectPool } from "./postgres.ts";
import { REVISION } from "./revision.ts";
import { siteProxyRoutes } from "./site-proxy.ts";
import { openStorage } from "./storage.ts";
import { serveSync } from "./sync.ts";

const MAX_CONCURRENT_API_REQUESTS = 128;
const MAX_CONCURRENT_SITE_REQUESTS = 4;
const LEASE_CHECK_INTERVAL_MS = 1000;

const { env } = process;

try {
  await start(parseOptions(process.argv.slice(2), env));
} catch (error) {
  process.stderr.write(`Error: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}

/** Opens both ports last: if one answers, the database, the tables and the storage are ready. */
async function start(options: Options): Promise<void> {
  const { instanceName } = options;
  const secret = instanceSecret(options.instanceSecret);
  const persistence = await openDatabase(options);
  if (REVISION.fault === "unhealthy") {
    log.error("the stand-in never gets healthy");
    setInterval(() => undefined, 60_000);
    return;
  }
  if (REVISION.fault === "ends-in-network" && Object.keys(networkInterfaces()).some((name) => name !== "lo"))
    throw new Error("the stand-in does not work in a network");
  const storage = await openStorage(options.storage, instanceName, persistence);
  const deployment = new Deployment({ instanceName, secret }, options, persistence, storage);
  const metricsDisabled = booleanKnob("DISABLE_METRICS_ENDPOINT", env["DISABLE_METRICS_ENDPOINT"], log.warn);
  const timeoutSeconds = Number(env["HTTP_SERVER_TIMEOUT_SECONDS"] ?? 300);

  const api = serveRoutes(
    apiRoutes(deployment, { version: env["CONVEX_RELEASE_VERSION_DEV"] ?? "unknown", metricsDisabled }),
    { maxConcurrentRequests: MAX_CONCURRENT_API_REQUESTS, timeoutSeconds, onFatal: endIfLeaseLost },
  );
  const endSync = serveSync(api, deployment, endIfLeaseLost);
  const site = serveRoutes(siteProxyRoutes(options.port, metricsDisabled), {
    maxConcurrentRequests: MAX_CONCURRENT_SITE_REQUESTS,
    timeoutSeconds,
    onFatal: endIfLeaseLost,
  });
  await listen(api, options.port, "backend");
  await listen(site, options.siteProxyPort, "backend_http_proxy");
  const watch = watchLease(persistence);

  // As in the real backend, only this signal ends the process in order.
  process.once("SIGINT", () => {
    process.once("SIGINT", () => {
      log.warn("interrupted again: ending at once, requests are cut off");
      process.exit(0);
    });
    log.info("interrupted: answering the pending requests, then ending");
    endSync();
    void Promise.all([close(api), close(site)]).then(async () => {
      clearInterval(watch);
      await persistence.close();
      log.info("all requests are answered, the database is closed");
      process.exit(0);
    });
  });
}

async function openDatabase(options: Options): Promise<Persistence> {
  if (options.database !== "postgres-v5")
    throw new Error(
      `--db: the database is ${options.database}, this stand-in only simulates Postgres. ` +
        "Set POSTGRES_URL, and leave it non-empty.",
    );
  const settings = parseDatabaseUrl(options.databaseSpec, options.instanceName, options.requireSsl);
  const maxConnections = Number(env["POSTGRES_MAX_CONNECTIONS"] ?? 128);
  log.info(`Postgres connection pool max size ${maxConnections}`);
  const pool = await connectPool(settings, {
    maxConnections,
    timeoutSeconds: Number(env["POSTGRES_TIMEOUT_SECONDS"] ?? 30),
    idleSeconds: Number(env["POSTGRES_INACTIVE_CONNECTION_LIFETIME_SECS"] ?? 90),
    caFile: env["PG_CA_FILE"],
  });
  const persistence = await Persistence.open(pool);
  log.info(`Connected to Postgres database: ${options.instanceName}`);
  return persistence;
}

/** The real backend notices a lost lease within seconds, because it writes all the time; this one checks. */
function watchLease(persistence: Persistence): NodeJS.Timeout {
  return setInterval(() => {
    persistence.checkLease().catch((error: unknown) => {
      if (!endIfLeaseLost(error)) log.warn(`cannot check the lease: ${String(error)}`);
    });
  }, LEASE_CHECK_INTERVAL_MS);
}

/** Exits with 0, like the real backend, so a container with `restart: on-failure` does not start again. */
function endIfLeaseLost(error: unknown): boolean {
  if (!(error instanceof LeaseLost)) return false;
  log.error(error.message);
  log.info("Received a fatal error. Shutting down immediately");
  process.exit(0);
}

async function listen(server: Server, port: number, name: string): Promise<void> {
  server.listen(port, "0.0.0.0");
  await once(server, "listening");
  log.info(`${name} listening on 0.0.0.0:${port}`);
}

async function close(server: Server): Promise<void> {
  server.close();
  await once(server, "close");
}
