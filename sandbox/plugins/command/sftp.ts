import { readdir, stat } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import ssh2 from "ssh2";
import type { Client, SFTPWrapper, Stats } from "ssh2";

export function openSftp(client: Client): Promise<SFTPWrapper> {
  return promisify(client.sftp.bind(client))();
}

/** Writes a file with this content. */
export async function writeText(sftp: SFTPWrapper, text: string, remotePath: string): Promise<void> {
  if ((await remoteStat(sftp, remotePath))?.isDirectory()) {
    throw new Error(
      `remote path ${remotePath} is a directory; when using a text asset, remotePath must be a file path`,
    );
  }
  await makeDirectory(sftp, path.posix.dirname(remotePath));
  await attempt(`write ${remotePath}`, (done) => {
    sftp.writeFile(remotePath, text, done);
  });
}

/**
 * Copies a file, or a folder with all its contents. A folder is put inside `remotePath` under its own name, unless the
 * source's path ends in a slash and `remotePath` exists. A file is put inside `remotePath` if that is a folder.
 */
export async function upload(sftp: SFTPWrapper, source: string, remotePath: string): Promise<void> {
  const destination = await remoteStat(sftp, remotePath);
  const inside = path.posix.join(remotePath, path.basename(source));
  if ((await stat(source)).isDirectory()) {
    await uploadDirectory(sftp, source, source.endsWith("/") ? remotePath : inside);
    return;
  }
  const target = destination?.isDirectory() ? inside : remotePath;
  await makeDirectory(sftp, path.posix.dirname(target));
  await uploadFile(sftp, source, target);
}

async function uploadDirectory(sftp: SFTPWrapper, source: string, target: string): Promise<void> {
  await makeDirectory(sftp, target);
  for (const entry of await readdir(source, { withFileTypes: true })) {
    const [from, to] = [path.join(source, entry.name), path.posix.join(target, entry.name)];
    if (entry.isDirectory()) await uploadDirectory(sftp, from, to);
    else await uploadFile(sftp, from, to);
  }
}

function uploadFile(sftp: SFTPWrapper, source: string, target: string): Promise<void> {
  return attempt(`copy ${source} to ${target}`, (done) => {
    sftp.fastPut(source, target, done);
  });
}

async function makeDirectory(sftp: SFTPWrapper, directory: string): Promise<void> {
  const existing = await remoteStat(sftp, directory);
  if (existing?.isDirectory()) return;
  if (existing) throw new Error(`${directory}: is not a directory, it must be one or not exist.`);
  await makeDirectory(sftp, path.posix.dirname(directory));
  await attempt(`create directory ${directory}`, (done) => {
    sftp.mkdir(directory, done);
  });
}

/** Undefined if the path does not exist. */
async function remoteStat(sftp: SFTPWrapper, remotePath: string): Promise<Stats | undefined> {
  try {
    return await promisify(sftp.stat.bind(sftp))(remotePath);
  } catch (error) {
    if ((error as { code?: number }).code === ssh2.utils.sftp.STATUS_CODE.NO_SUCH_FILE) return undefined;
    throw new Error(`failed to stat ${remotePath}: ${(error as Error).message}`, { cause: error });
  }
}

function attempt(what: string, action: (done: (error?: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    action((error) => {
      if (error) reject(new Error(`failed to ${what}: ${error.message}`, { cause: error }));
      else resolve();
    });
  });
}
