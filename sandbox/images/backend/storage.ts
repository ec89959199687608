import { createHash, randomUUID } from "node:crypto";
import { mkdir, open, rename, rm } from "node:fs/promises";
import path from "node:path";
import { log } from "./log.ts";
import type { Options } from "./options.ts";
import type { Persistence, StorageType } from "./persistence.ts";
import type { FileStorage, StoredFile } from "./stored-files.ts";

/** What the backend stores outside the database, each in its own folder, or its own bucket. */
const USES = ["exports", "snapshot_imports", "modules", "files", "search"];

/**
 * Compares the kind of storage with that of the database's first start, and refuses another one. Asks no bucket, like the original: a
 * wrong key or name shows only with the first file.
 */
export async function openStorage(
  storage: Options["storage"],
  instanceName: string,
  persistence: Persistence,
): Promise<FileStorage> {
  const recorded = await persistence.storageType();
  if (recorded && recorded.tag !== storage.kind)
    throw new Error(
      `Database was initialized with Some(${describe(recorded)}), ` +
        `but backend started up with ${storage.kind === "local" ? describe({ tag: "local", dir: storage.directory }) : "S3"}.`,
    );
  if (storage.kind === "local") {
    if (recorded?.tag === "local" && recorded.dir !== storage.directory)
      log.info(`Switching storage tag from local dir ${recorded.dir} to ${storage.directory}`);
    for (const use of USES) await mkdir(path.join(storage.directory, use), { recursive: true });
    const isRecorded = recorded?.tag === "local" && recorded.dir === storage.directory;
    if (!isRecorded) await persistence.setStorageType({ tag: "local", dir: storage.directory });
    return new LocalFiles(path.join(storage.directory, "files"));
  }
  const s3Prefix = recorded?.tag === "s3" ? recorded.s3Prefix : `${instanceName}-${randomUUID()}/`;
  if (!s3Prefix.startsWith(`${instanceName}-`))
    throw new Error(`Cannot use s3 storage path ${s3Prefix} with ${instanceName}`);
  // The client takes a moment to load.
  const { S3Files } = await import("./s3-files.ts");
  const files = new S3Files(s3Prefix, process.env);
  if (!recorded) await persistence.setStorageType({ tag: "s3", s3Prefix });
  return files;
}

function describe(type: StorageType): string {
  return type.tag === "local"
    ? `Local { dir: ${JSON.stringify(type.dir)} }`
    : `S3 { s3_prefix: ${JSON.stringify(type.s3Prefix)} }`;
}

/** Files in a folder. */
class LocalFiles implements FileStorage {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async store(body: AsyncIterable<Uint8Array>): Promise<StoredFile> {
    const storageId = randomUUID();
    const unfinished = path.join(this.#directory, `.${storageId}`);
    const hash = createHash("sha256");
    let size = 0;
    try {
      {
        await using file = await open(unfinished, "wx");
        for await (const chunk of body) {
          hash.update(chunk);
          size += chunk.length;
          await file.writeFile(chunk);
        }
        await file.sync();
      }
      await rename(unfinished, path.join(this.#directory, storageId));
    } catch (error) {
      await rm(unfinished, { force: true });
      throw error;
    }
    return { storageId, sha256: hash.digest("base64"), size };
  }

  async read(storageId: string): Promise<ReadableStream<Uint8Array>> {
    const file = await open(path.join(this.#directory, storageId));
    return file.readableWebStream({ autoClose: true }) as ReadableStream<Uint8Array>;
  }
}
