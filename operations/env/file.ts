import { chmod, lstat, readFile, realpath, stat } from "node:fs/promises";
import path from "node:path";

import writeFileAtomic from "write-file-atomic";

import { readVariables } from "../../examples/app-repo/scripts/target/environment.ts";
import { refuseCommitted } from "./git.ts";
import { type Merge, mergeVariables } from "./merge.ts";
import { refuseRivals } from "./rivals.ts";

/** Nobody but its owner reads a file with an admin key. */
const MODE = 0o600;

/** What was done to a file, by the names of variables. */
export interface Written {
  added: string[];
  changed: string[];
  /** Whether others could read the file until now. */
  closed: boolean;
}

/**
 * Sets variables in an environment file, which is made where there is none; it is replaced as a whole or not at all. A
 * link is followed and stays a link.
 *
 * @throws Error where the file cannot hold them: git would commit it, the Convex CLI would use another deployment, or its
 *   text cannot be changed without doubt
 */
export async function writeEnvironmentFile(file: string, variables: Record<string, string>): Promise<Written> {
  const real = await resolve(file);
  await refuseCommitted(real);
  const text = await read(real);
  // The Convex CLI reads these two beside one another.
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
    throw new Error(`${file}: ${(error as Error).message}. Mend it, then run this again.`, {
      cause: error,
    });
  }
}

/** The file behind links; one that is not there yet is where it will be. */
async function resolve(file: string): Promise<string> {
  const folder = await realpath(path.dirname(file)).catch(() => {
    throw new Error(`${path.dirname(file)}: is not a folder, it should be the app's. Name another file with --file.`);
  });
  const entry = await lstat(file).catch(() => undefined);
  if (entry === undefined) return path.join(folder, path.basename(file));
  const real = await realpath(file).catch(() => {
    throw new Error(`${file}: is a link to nothing, it should be a file. Remove it or make what it leads to.`);
  });
  if (!(await stat(real)).isFile()) {
    throw new Error(`${file}: is not a file, it should be one to keep. Name another with --file.`);
  }
  return real;
}

/** Undefined where there is none. Text in another encoding would not survive. */
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
