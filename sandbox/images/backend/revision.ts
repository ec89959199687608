import { readFileSync } from "node:fs";

/** What one image differs in from another one, so that there are upgrades and downgrades between them. */
export interface Revision {
  /** The version of this backend's tables, to which it migrates older ones. */
  metadataVersion: number;
  /**
   * What is wrong with it: its migration fails, and it serves without it; its migration deletes a row; it never gets healthy; it
   * ends after its migration if it has a network, which no try without one shows.
   */
  fault?: "migration" | "loses-row" | "unhealthy" | "ends-in-network";
}

/** This image's. Images of other revisions are made from this image with another file. */
export const REVISION = JSON.parse(
  readFileSync(new URL("revision.json", import.meta.url), "utf8"),
) as Readonly<Revision>;
