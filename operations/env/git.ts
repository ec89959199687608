import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";

/**
 * Refuses a file that git would commit.
 *
 * @param file  an absolute path, not a link; the file need not exist yet
 * @throws Error with the command that makes git ignore it
 */
export async function refuseCommitted(file: string): Promise<void> {
  const folder = path.dirname(file);
  const git = (...args: string[]) => runGit(["-C", folder, ...args]);
  const ignored = await git("check-ignore", "--quiet", "--", file);
  if (ignored.code === 0 || ignored.code === "ENOENT" || ignored.said.includes("not a git repository")) return;
  if (ignored.code !== 1) throw new Error(`${file}: git cannot check whether it is ignored. ${ignored.said.trim()}`);

  const ignore = `echo '${path.basename(file)}' >> ${path.join(folder, ".gitignore")}`;
  if ((await git("ls-files", "--error-unmatch", "--", file)).code === 0) {
    throw new Error(
      `${file}: is in git, it should not be, because it contains the admin key. Run: git -C ${folder} rm --cached ${path.basename(file)} && ${ignore}`,
    );
  }
  throw new Error(
    `${file}: git would commit it, it should be ignored, because it contains the admin key. Run: ${ignore}`,
  );
}

/** Git's exit code, or `ENOENT` if git is not installed; and its stderr. */
async function runGit(args: string[]): Promise<{ code: number | string; said: string }> {
  try {
    await promisify(execFile)("git", args, { env: { ...process.env, LC_ALL: "C" } });
    return { code: 0, said: "" };
  } catch (error) {
    const { code, stderr = "" } = error as { code: number | string; stderr?: string };
    return { code, said: stderr };
  }
}
