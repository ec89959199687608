import { readFile } from "node:fs/promises";
import path from "node:path";

import type { ClientChannel } from "ssh2";
import tar from "tar-stream";

import { scriptFiles, SOURCE } from "../../contract/scripts.ts";
import { dial, type Target } from "../../ssh/connect.ts";
import type { Area } from "./finding.ts";

/** What a script in check mode would change; machine/lib/common.sh describes it. */
export interface Difference {
  /** The script's name, for example `host.sh`. */
  script: string;
  area: Area;
  subject: string;
  /** Empty if the difference is about the whole subject. */
  property: string;
  expected: string;
  found: string;
}

/** What one command on the machine printed. */
export interface Fact {
  exitCode: number;
  text: string;
}

/** What machine/inspect.sh printed. */
export interface Inside {
  differences: Difference[];
  facts: Map<string, Fact>;
}

/** Runs from a folder in memory that only root can read and that is removed at the end. It is stopped after 90 s. */
const INSPECT = [
  "umask 077",
  "folder=$(mktemp -d /run/convex-droplet-inspect.XXXXXX) || exit 1",
  `trap 'rm -rf "$folder"' EXIT`,
  `timeout 90 sh -c 'tar -x -C "$1" && exec bash "$1/inspect.sh"' inspect "$folder"`,
].join("; ");

/**
 * Inspects a machine over one SSH connection, and changes nothing there. It runs this checkout's scripts, not those on the
 * machine, which it inspects too.
 *
 * @param expected  files for `expected/` beside the scripts: what is declared, in inspect.sh's form
 * @throws UnreachableError if the machine cannot be reached
 * @throws Error if the inspection does not complete
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

/** Reads the records that machine/inspect.sh prints: the kind, then the fields of that kind, each ended by a NUL. */
export function parse(stdout: string, stderr = ""): Inside {
  const fields = stdout.split("\0").values();
  const next = () => fields.next().value ?? "";
  const inside: Inside = { differences: [], facts: new Map() };
  for (const kind of fields) {
    if (kind === "difference") {
      const [script, area] = [next(), next() as Area];
      inside.differences.push({ script, area, subject: next(), property: next(), expected: next(), found: next() });
    } else if (kind === "fact") {
      inside.facts.set(next(), { exitCode: Number(next()), text: next() });
    }
  }
  if (!inside.facts.has("complete")) {
    const reason = stderr.trim().split("\n").at(-1) ?? "";
    throw new Error(
      `the check inside the droplet did not come to its end${reason === "" ? "" : `: ${reason}`}. Run it again.`,
    );
  }
  return inside;
}
