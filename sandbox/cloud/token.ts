import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";

import type { SandboxHome } from "../home.ts";
import { writeFileAtomically } from "../atomic-file.ts";
import { cloudFolder } from "./state.ts";

/** The sandbox's API token: `dop_v1_` and 64 hexadecimal digits, like a real one; made on first use. */
export async function cloudToken(home: SandboxHome): Promise<string> {
  const file = path.join(await cloudFolder(home), "token");
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    const token = `dop_v1_${randomBytes(32).toString("hex")}`;
    await writeFileAtomically(file, `${token}\n`);
    return token;
  }
}
