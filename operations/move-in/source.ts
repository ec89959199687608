import type { Readable } from "node:stream";

/** What there is to move. */
export interface Installation {
  /** For people: what it is and where. */
  description: string;
  /** The instance's name and secret; undefined if they show only after its files were read. */
  identity: { name: string; secret: string } | undefined;
  /** A command that prints the secret, for people. */
  secretCommand: string;
  /** Where its rows and its files are. */
  database: "postgres" | "mysql" | "sqlite";
  storage: "local" | "s3";
  /** Major version of its PostgreSQL; undefined if unknown. */
  version: number | undefined;
  /** Sizes in bytes. */
  bytes: { database: number; files: number };
  /** Its clock, in seconds since 1970. */
  now: number;
}

/** A stream, and whether all of it came. */
export interface Reading {
  stream: Readable;
  /** Rejects if the stream is not complete. */
  complete: Promise<void>;
}

/** A hand-made installation, which is only read. */
export interface Source extends AsyncDisposable {
  look(): Promise<Installation>;
  /** The database, in pg_dump's custom format. */
  dump(): Promise<Reading>;
  /** The backend's folder as a tar; with a time, only files that were changed since, in seconds since 1970. */
  files(since?: number): Promise<Reading>;
}
