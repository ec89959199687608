import { chmod, lstat, readFile, realpath, stat } from "node:fs/promises";
import path from "node:path";

import writeFileAtomic from "write-file-atomic";

import { readVariables } from "../../examples/app-repo/scripts/target/environment.ts";
import { refuseCommitted } from "./git.ts";
import { type Merge, mergeVariables } from "./merge.ts";
import { refuseRivals } from "./rivals.ts";

/** Only the owner can read a file with an admin key. */
const MODE = 0o600;

/** The changes to a file, by the names of variables. */
export interface Written {
  added: string[];
  changed: string[];
  /** Whether other users could read the file until now. */
  closed: boolean;
}

/**
 * Sets variables in an environment file, and creates the file if it does not exist. The file is replaced atomically. A link
 * is followed and stays a link.
 *
 * @throws Error if git would commit the file, the Convex CLI would use another deployment, or the text cannot be changed
 *   safely
 */
export async function writeEnvironmentFile(file: string, variables: Record<string, string>): Promise<Written> {
  const real = await resolve(file);
  await refuseCommitted(real);
  const text = await read(real);
  // The Convex CLI reads both of these files.
  for (const place of new Set([file, ...[".env.local", ".env"].map((name) => path.join(path.dirname(file), name))])) {
    const found = readVariables(place);
    refuseRivals(
      Object.fromEntries(Object.entries(found).map(([name, { value }]) => [name, value])),
      (name) => found[name]?.place ?? place,
    );
  }
  const merge = merged(file, text ?? "", variables);
  const closed = text !== undefined && ((await stat(real)).mode & 0o077) !== 0;
  if (merge.text !== text) await writeFileAtomic(real, merge.text, { mode: MODE });
  else if (closed) await chmod(real, MODE);
  return { added: merge.added, changed: merge.changed, closed };
}

function merged(file: string, text: string, variables: Record<string, string>): Merge {
  try {
    return mergeVariables(text, variables);
  } catch (error) {
    throw new Error(`${file}: ${(error as Error).message}. Fix it, then run this again.`, {
      cause: error,
    });
  }
}

/** The file that a link leads to. The file need not exist yet. */
async function resolve(file: string): Promise<string> {
  const folder = await realpath(path.dirname(file)).catch(() => {
    throw new Error(`${path.dirname(file)}: is not a folder, it should be the app's. Name another file with --file.`);
  });
  const entry = await lstat(file).catch(() => undefined);
  if (entry === undefined) return path.join(folder, path.basename(file));
  const real = await realpath(file).catch(() => {
    throw new Error(`${file}: is a link to nothing, it should be a file. Remove the link or create its target.`);
  });
  if (!(await stat(real)).isFile()) {
    throw new Error(`${file}: is not a regular file, it should be one. Name another with --file.`);
  }
  return real;
}

/** Undefined if there is no file. Refuses another encoding, because writing would destroy the text. */
async function read(file: string): Promise<string | undefined> {
  const bytes = await readFile(file).catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  });
  const text = bytes?.toString("utf8");
  if (bytes !== undefined && !Buffer.from(text ?? "").equals(bytes)) {
    throw new Error(`${file}: is not in UTF-8, it should be. Save it in that encoding and run this again.`);
  }
  return text;
}
