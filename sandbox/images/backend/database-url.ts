/** The connection to Postgres, as the backend reads it from `POSTGRES_URL`. */
export interface DatabaseSettings {
  /** If it starts with a slash, the directory of Postgres's socket. */
  host: string;
  port: number;
  user: string;
  password?: string;
  database: string;
  tls: TlsMode;
  /** Session options, such as `-c search_path=...`. */
  options?: string;
}

/** `prefer` uses TLS if the server offers it, and then does not fall back to plain text if the certificate is wrong. */
export type TlsMode = "disable" | "prefer" | "require";

/** The database's name is not in the URL; it is the instance's name with `_` for each `-`. */
export function databaseName(instanceName: string): string {
  return instanceName.replaceAll("-", "_");
}

/** @throws Error with the text of the real backend, never with the password */
export function parseDatabaseUrl(text: string, instanceName: string, requireSsl: boolean): DatabaseSettings {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !["postgres:", "postgresql:"].includes(url.protocol)) throw new Error("invalid postgres connection url");
  if (url.username === "") throw new Error("cluster url username must be set");
  if (!["", "/"].includes(url.pathname)) throw new Error(`cluster url already contains db name: ${url.pathname}`);
  const options = url.searchParams.get("options");
  return {
    host: decodeURIComponent(url.hostname),
    port: Number(url.port || 5432),
    user: decodeURIComponent(url.username),
    ...(url.password !== "" && { password: decodeURIComponent(url.password) }),
    database: databaseName(instanceName),
    tls: requireSsl ? "require" : tlsMode(url.searchParams.getAll("sslmode").at(-1) ?? "prefer"),
    ...(options !== null && { options }),
  };
}

function tlsMode(sslmode: string): TlsMode {
  if (sslmode === "disable" || sslmode === "prefer" || sslmode === "require") return sslmode;
  throw new Error("invalid value for option `sslmode`");
}
