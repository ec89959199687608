import { open, rename } from "node:fs/promises";
import path from "node:path";

/**
 * Replaces a file so that whoever reads it, also after a crash at any point, finds all of the old or all of the new
 * content. On the disk when the promise resolves; readable by the owner only. One writer at a time.
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
