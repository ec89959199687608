import { isIP } from "node:net";
import { getCACertificates, type ConnectionOptions } from "node:tls";
import { readFileSync } from "node:fs";
import pg from "pg";
import type { DatabaseSettings } from "./database-url.ts";
import { log } from "./log.ts";

/** The connection's settings from the environment. Times are in seconds. */
export interface PoolSettings {
  maxConnections: number;
  timeoutSeconds: number;
  idleSeconds: number;
  /** PEM bundle, trusted in addition to the system's roots. */
  caFile?: string | undefined;
}

/**
 * Also opens the first connection, so that a wrong setting shows immediately.
 *
 * @throws Error with the text of the real backend's driver
 */
export async function connectPool(settings: DatabaseSettings, pool: PoolSettings): Promise<pg.Pool> {
  const { tls, ...server } = settings;
  const base: pg.PoolConfig = {
    ...server,
    max: pool.maxConnections,
    connectionTimeoutMillis: pool.timeoutSeconds * 1000,
    idleTimeoutMillis: pool.idleSeconds * 1000,
  };
  if (tls === "disable") return open(base);
  const verified = { ...base, ssl: tlsOptions(server.host, pool.caFile) };
  try {
    return await open(verified);
  } catch (error) {
    if (tls === "prefer" && error instanceof TlsNotOffered) return open(base);
    throw error;
  }
}

async function open(config: pg.PoolConfig): Promise<pg.Pool> {
  const pool = new pg.Pool(config);
  // The next query replaces an idle connection that breaks, for example at a restart of Postgres.
  pool.on("error", (error) => {
    log.warn(`lost a connection to Postgres: ${error.message}`);
  });
  try {
    (await pool.connect()).release();
    return pool;
  } catch (error) {
    await pool.end();
    throw inDriversWords(error);
  }
}

function tlsOptions(host: string, caFile: string | undefined): ConnectionOptions {
  return {
    ca: [...getCACertificates("system"), ...(caFile ? readCaFile(caFile) : [])],
    // Either is the name that the certificate must have; an address is not allowed as SNI.
    ...(isIP(host) ? { host } : { servername: host }),
  };
}

function readCaFile(path: string): string[] {
  const pem = readPem(path);
  const certificates = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  if (!certificates) throw new Error(`Failed to parse CA file as PEM: ${path}`);
  return certificates;
}

function readPem(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    throw new Error(`Failed to read CA file: ${path}`);
  }
}

class TlsNotOffered extends Error {}

function inDriversWords(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  if (error instanceof pg.DatabaseError)
    return new Error(`db error: ${error.severity ?? "ERROR"}: ${error.message}`, { cause: error });
  if (error.message.includes("does not support SSL"))
    return new TlsNotOffered("error performing TLS handshake: server does not support TLS");
  const code = "code" in error ? String(error.code) : "";
  const connecting = CONNECT_FAILURES[code];
  if (connecting) return new Error(`error connecting to server: ${connecting}`, { cause: error });
  if (isCertificateFault(code)) {
    const fault = CERTIFICATE_FAULTS[code] ?? "UnknownIssuer";
    return new Error(`error performing TLS handshake: invalid peer certificate: ${fault}`, { cause: error });
  }
  return new Error(`error connecting to server: ${error.message}`, { cause: error });
}

/** Node's codes of system errors, and how the backend's runtime prints them. */
const CONNECT_FAILURES: Record<string, string> = {
  ECONNREFUSED: "Connection refused (os error 111)",
  ENOENT: "No such file or directory (os error 2)",
  EHOSTUNREACH: "No route to host (os error 113)",
  ETIMEDOUT: "Connection timed out (os error 110)",
  ENOTFOUND: "failed to lookup address information: Name or service not known",
  EAI_AGAIN: "failed to lookup address information: Temporary failure in name resolution",
};

const CERTIFICATE_FAULTS: Record<string, string> = {
  ERR_TLS_CERT_ALTNAME_INVALID: "NotValidForName",
  CERT_HAS_EXPIRED: "Expired",
  CERT_NOT_YET_VALID: "NotValidYet",
};

/** Whether it is Node's name of an OpenSSL verification code. */
function isCertificateFault(code: string): boolean {
  return code in CERTIFICATE_FAULTS || code.includes("CERT") || code.includes("ISSUER") || code.includes("SIGNATURE");
}
