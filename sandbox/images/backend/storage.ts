import { createHash, randomUUID } from "node:crypto";
import { mkdir, open, rename, rm } from "node:fs/promises";
import path from "node:path";
import { log } from "./log.ts";
import type { Options } from "./options.ts";
import type { Persistence } from "./persistence.ts";

/** What the backend stores outside the database, each in its own folder. */
const USES = ["exports", "snapshot_imports", "modules", "files", "search"];

/** The database records the kind of storage of its first use, and later refuses the other kind. */
type StorageTag = { Local: { dir: string } } | { S3: { s3_prefix: string } };

const TAG_KEY = "storage_type";

export interface StoredFile {
  storageId: string;
  sha256: string;
  size: number;
}

/** Checks the kind of storage against the database's, then makes its folders. */
export async function openStorage(storage: Options["storage"], persistence: Persistence): Promise<FileStorage> {
  const recorded = (await persistence.global(TAG_KEY)) as StorageTag | null;
  if (recorded && "Local" in recorded !== (storage.kind === "local"))
    throw new Error(
      `Database was initialized with Some(${describe(recorded)}), ` +
        `but backend started up with ${storage.kind === "local" ? describe({ Local: { dir: storage.directory } }) : "S3"}.`,
    );
  if (storage.kind === "s3")
    throw new Error(
      "s3-storage: not simulated by this stand-in, local storage is. Unset the S3_STORAGE_*_BUCKET variables.",
    );
  if (recorded && "Local" in recorded && recorded.Local.dir !== storage.directory)
    log.info(`Switching storage tag from local dir ${recorded.Local.dir} to ${storage.directory}`);
  for (const use of USES) await mkdir(path.join(storage.directory, use), { recursive: true });
  await persistence.setGlobal(TAG_KEY, { Local: { dir: storage.directory } });
  return new FileStorage(path.join(storage.directory, "files"));
}

function describe(tag: StorageTag): string {
  return "Local" in tag
    ? `Local { dir: ${JSON.stringify(tag.Local.dir)} }`
    : `S3 { s3_prefix: ${JSON.stringify(tag.S3.s3_prefix)} }`;
}

/** The contents of uploaded files; their metadata is in the database. */
export class FileStorage {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Writes the whole file to the disk, or nothing. */
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
