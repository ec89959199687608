import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import { pipeline, type Readable } from "node:stream";
import { finished } from "node:stream/promises";
import { createGunzip } from "node:zlib";

import { quote } from "../../contract/scripts.ts";
import type { Installation, Reading, Source } from "./source.ts";

/** An installation that was copied to two files on this computer: a dump in pg_dump's custom format, and a tar of /convex/data. */
export class OldFiles implements Source {
  readonly #dump: string;
  readonly #tar: string;

  private constructor(dump: string, tar: string) {
    this.#dump = dump;
    this.#tar = tar;
  }

  /** @throws Error if a file cannot be read, or is not a dump in the custom format */
  static async open(dump: string, tar: string): Promise<OldFiles> {
    for (const [option, file] of [["--dump", dump] as const, ["--files", tar] as const]) {
      const start = await firstBytes(file).catch((error: unknown) => {
        throw new Error(
          `${option}: ${file} cannot be read (${error instanceof Error ? error.message : String(error)})`,
        );
      });
      if (option === "--dump" && start !== "PGDMP")
        throw new Error(
          `--dump: ${file} is not in pg_dump's custom format, it should be. Make it with: pg_dump --format=custom --no-owner --file=FILE DATABASE`,
        );
    }
    return new OldFiles(dump, tar);
  }

  async look(): Promise<Installation> {
    const [dump, tar] = [await stat(this.#dump), await stat(this.#tar)];
    return {
      description: `${this.#dump} and ${this.#tar}`,
      identity: undefined,
      secretCommand: `tar -xOf ${quote(this.#tar)} --wildcards '*credentials/instance_secret'`,
      database: "postgres",
      storage: "local",
      version: undefined,
      // A dump is compressed, and has no indexes.
      bytes: { database: dump.size * 5, files: tar.size },
      now: Date.now() / 1000,
    };
  }

  dump(): Promise<Reading> {
    return Promise.resolve(reading(createReadStream(this.#dump)));
  }

  files(): Promise<Reading> {
    const file = createReadStream(this.#tar);
    return Promise.resolve(reading(this.#tar.endsWith("gz") ? pipeline(file, createGunzip(), () => undefined) : file));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

function reading(stream: Readable): Reading {
  const complete = finished(stream);
  complete.catch(() => undefined);
  return { stream, complete };
}

async function firstBytes(file: string): Promise<string> {
  await using opened = await open(file);
  const { buffer, bytesRead } = await opened.read(Buffer.alloc(5), 0, 5, 0);
  return buffer.subarray(0, bytesRead).toString("latin1");
}
