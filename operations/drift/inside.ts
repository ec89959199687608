import { readFile } from "node:fs/promises";
import path from "node:path";

import type { ClientChannel } from "ssh2";
import tar from "tar-stream";

import { scriptFiles, SOURCE } from "../../contract/scripts.ts";
import { dial, type Target } from "../../ssh/connect.ts";

/** What one of the machine's own scripts would change. */
export interface Difference {
  path: string;
  expected: string;
  found: string;
}

/** What one command on the machine said. */
export interface Fact {
  exitCode: number;
  text: string;
}

/** What machine/inspect.sh, which describes both, printed. */
export interface Inside {
  differences: Difference[];
  facts: Map<string, Fact>;
}

/**
 * Runs from a folder in memory that root alone can read and that goes with the connection. Whatever hangs there is ended.
 */
const INSPECT = [
  "umask 077",
  "folder=$(mktemp -d /run/convex-droplet-inspect.XXXXXX) || exit 1",
  `trap 'rm -rf "$folder"' EXIT`,
  `timeout 90 sh -c 'tar -x -C "$1" && exec bash "$1/inspect.sh"' inspect "$folder"`,
].join("; ");

/**
 * Looks at a machine over one SSH connection, and changes nothing there. The scripts that look are this checkout's, not
 * those on the machine, which are among what is looked at.
 *
 * @param expected  files for `expected/` beside the scripts: what is declared, as inspect.sh wants it
 * @throws UnreachableError when the machine cannot be reached
 * @throws Error when the look does not come to its end
 */
export async function lookInside(target: Target, expected: Record<string, string>): Promise<Inside> {
  const client = await dial(target);
  try {
    const channel = await new Promise<ClientChannel>((resolve, reject) => {
      client.exec(INSPECT, (error, opened) => {
        if (error) reject(error);
        else resolve(opened);
      });
    });
    const [stdout, stderr] = [collect(channel), collect(channel.stderr)];
    (await archive(expected)).pipe(channel.stdin);
    return parse(await stdout, await stderr);
  } finally {
    client.end();
  }
}

async function archive(expected: Record<string, string>): Promise<tar.Pack> {
  const pack = tar.pack();
  for (const file of scriptFiles()) pack.entry({ name: file }, await readFile(path.join(SOURCE, file)));
  for (const [name, text] of Object.entries(expected)) pack.entry({ name: `expected/${name}`, mode: 0o600 }, text);
  pack.finalize();
  return pack;
}

async function collect(stream: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString();
}

/** Four fields a record, each ended by a NUL. */
export function parse(stdout: string, stderr = ""): Inside {
  const fields = stdout.split("\0");
  const inside: Inside = { differences: [], facts: new Map() };
  for (let index = 0; index + 4 < fields.length; index += 4) {
    const [kind, name = "", third = "", fourth = ""] = fields.slice(index, index + 4);
    if (kind === "difference") inside.differences.push({ path: name, expected: third, found: fourth });
    else inside.facts.set(name, { exitCode: Number(third), text: fourth });
  }
  if (!inside.facts.has("complete")) {
    const reason = stderr.trim().split("\n").at(-1) ?? "";
    throw new Error(
      `the look inside the droplet did not come to its end${reason === "" ? "" : `: ${reason}`}. Run it again.`,
    );
  }
  return inside;
}
