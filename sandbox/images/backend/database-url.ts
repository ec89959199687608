/** Where and how to reach Postgres, as the backend reads it out of `POSTGRES_URL`. */
export interface DatabaseSettings {
  /** A directory when it starts with a slash: Postgres's socket is in it. */
  host: string;
  port: number;
  user: string;
  password?: string;
  database: string;
  tls: TlsMode;
  /** Session options, such as `-c search_path=...`. */
  options?: string;
}

/** `prefer` takes TLS when the server offers it, and then verifies: there is no way back to plain text. */
export type TlsMode = "disable" | "prefer" | "require";

/** The database's name is not in the URL: it is the instance's name with each `-` turned into `_`. */
export function databaseName(instanceName: string): string {
  return instanceName.replaceAll("-", "_");
}

/** Throws with the backend's own texts; none of them shows the password. */
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
