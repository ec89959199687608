import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

import { quote } from "../../contract/scripts.ts";
import type { Stranger } from "../../ssh/pinned.ts";
import { requireStack, UsageError } from "../arguments.ts";
import { npmCommand } from "../typed.ts";

export const HELP = `Usage: ${npmCommand("STACK", "move-in", "--from USER@HOST[:PORT] --host-key FINGERPRINT [OPTION ...]")}
       ${npmCommand("STACK", "move-in", "--dump FILE --files TAR [OPTION ...]")}
       ${npmCommand("STACK", "move-in", "--forget")}

Moves a hand-made installation of Convex, with all rows, files and keys, into a deployed stack. Read docs/move-in.md first.

  --from       the old machine; the commands there run as root, with sudo if the user is another
  --host-key   the fingerprint of its host key, SHA256:…; without it, the command prints the fingerprint and stops
  --identity   the file with the private key to log in there; without it, the SSH agent is asked
  --container  the old backend's container; needed only if several containers have /convex/data
  --dump, --files   instead of --from: a dump in pg_dump's custom format, and a tar of /convex/data (may end in .gz)

  --rehearse   the default: copies everything, checks the copy, removes it; changes neither side
  --cut-over   with --yes: stops the old backend, and puts its data in place of the stack's own, which is kept
  --replace    even if the stack's instance has documents of its own
  --forget     removes what earlier moves have replaced

If it is interrupted, run it again.

Exit code: 0 done, 1 it failed, 2 it needs --yes.
`;

/** What the command was asked to do. */
export interface Request {
  stack: string;
  verb: "rehearse" | "cut-over" | "forget";
  yes: boolean;
  replace: boolean;
  from: { machine: Stranger; container: string } | { dump: string; files: string } | undefined;
  /** The same command with other options, for people. */
  again: (...more: string[]) => string;
}

/**
 * Reads the command's arguments; undefined if help is wanted.
 *
 * @throws Error if they are not complete, or contradict each other
 */
export function readRequest(args: string[], env: NodeJS.ProcessEnv = process.env): Request | undefined {
  const { values } = parseArgs({
    args,
    options: {
      stack: { type: "string", short: "s" },
      from: { type: "string" },
      "host-key": { type: "string" },
      identity: { type: "string" },
      container: { type: "string" },
      dump: { type: "string" },
      files: { type: "string" },
      rehearse: { type: "boolean" },
      "cut-over": { type: "boolean" },
      replace: { type: "boolean" },
      forget: { type: "boolean" },
      yes: { type: "boolean", short: "y" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) return undefined;
  const stack = requireStack("move-in", values.stack);
  const verbs = (["rehearse", "cut-over", "forget"] as const).filter((verb) => values[verb] === true);
  if (verbs.length > 1)
    throw new UsageError(`--${verbs.join(" and --")}: exclude each other, it should be one of them.`);
  const [verb = "rehearse"] = verbs;
  const source = (["from", "host-key", "identity", "container", "dump", "files"] as const).flatMap((name) => {
    const value = values[name];
    return value === undefined ? [] : [`--${name}`, quote(value)];
  });
  const request = {
    ...{ stack, verb, yes: values.yes ?? false, replace: values.replace ?? false },
    again: (...more: string[]) =>
      npmCommand(stack, "move-in", ...source, ...(values.replace === true ? ["--replace"] : []), ...more),
  };
  if (verb === "forget") return { ...request, from: undefined };
  const { from, dump, files } = values;
  if (from !== undefined && dump === undefined && files === undefined) {
    const address = addressOf(from);
    const access = values.identity === undefined ? { agent: agentOf(env) } : { privateKey: keyIn(values.identity) };
    const machine = { ...address, ...access, fingerprint: fingerprintOf(values["host-key"]) };
    return { ...request, from: { machine, container: values.container ?? "" } };
  }
  if (from === undefined && dump !== undefined && files !== undefined) return { ...request, from: { dump, files } };
  throw new UsageError(
    "the old installation: is not named, it should be either --from USER@HOST, or both --dump FILE and --files TAR.",
  );
}

function addressOf(text: string): { user: string; host: string; port: number | undefined } {
  const [, user = "root", bracketed, plain = "", port] =
    /^(?:([\w.][\w.-]*)@)?(?:\[([\da-f:.]+)\]|(\w[\w.-]*))(?::(\d{1,5}))?$/i.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === "") throw new Error(`--from: "${text}" is not valid, it should be USER@HOST or USER@HOST:PORT.`);
  return { user, host, port: port === undefined ? undefined : Number(port) };
}

function fingerprintOf(text: string | undefined): string | undefined {
  if (text === undefined || /^SHA256:[\w+/]{43}$/.test(text)) return text;
  throw new Error(`--host-key: "${text}" is not valid, it should be a fingerprint, SHA256: and 43 letters.`);
}

function agentOf({ SSH_AUTH_SOCK: socket }: NodeJS.ProcessEnv): string {
  if (socket !== undefined && socket !== "") return socket;
  throw new Error("--identity: is not given, and there is no SSH agent, it should be the file with your private key.");
}

function keyIn(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new Error(`--identity: ${file} cannot be read (${error instanceof Error ? error.message : String(error)})`, {
      cause: error,
    });
  }
}
