import { open, rename } from "node:fs/promises";
import path from "node:path";

/**
 * Replaces a file so that every reader finds all of the old or all of the new content, even after a crash. When the
 * promise resolves, the content is on the disk; only the owner can read it. One writer at a time.
 *
 * The package write-file-atomic does not replace this: it does not sync the folder, so a power failure can undo the
 * rename; it renames a file even if the disk was full half way; and each kill in the middle leaves another file behind.
 */
export async function writeFileAtomically(file: string, content: string): Promise<void> {
  const next = `${file}.next`;
  const handle = await open(next, "w", 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(next, file);
  const folder = await open(path.dirname(file), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
