import { execFile } from "node:child_process";
import { parseArgs, promisify } from "node:util";

import { pulumiCommand } from "../contract/commands.ts";
import { cancel, runPulumi } from "../contract/run-pulumi.ts";
import { requireStack } from "./arguments.ts";
import { findCli } from "./pulumi-cli.ts";
import { State } from "./state.ts";
import { npmCommand } from "./typed.ts";

const HELP = `Usage: ${npmCommand("STACK", "up", "[OPTION ...]")}

Runs \`${pulumiCommand("STACK", "up")} [OPTION ...]\`, also after a run that was killed:

  - If a dead run of this computer has locked the stack, its lock is released. If it is not known whether the run is dead, it shows whose
    the lock is, since when, and the command that releases it.
  - If the run was killed while it changed or deleted something, the run checks first what really exists: --refresh --run-program.
  - What the run was creating is in the state after an \`up\` that succeeds. Then Pulumi's warnings about it end, too.

It deletes nothing that \`up\` would not. OPTION is any option of \`up\`, such as --yes, --refresh or --target.

Exit code: Pulumi's.
`;

/**
 * The command `up`.
 *
 * @returns the process's exit code, Pulumi's
 * @throws Error if the stack is unknown or its secrets cannot be read
 */
export async function runUp(args: string[]): Promise<number> {
  const { stack: named, help } = readUp(args);
  if (help) {
    process.stdout.write(HELP);
    return 0;
  }
  const stack = requireStack("up", named);
  const { pending } = await State.read(stack);
  const halfDone = pending.filter(({ operation }) => operation !== "creating").map(({ name }) => name);
  const check = halfDone.length > 0 && !args.some((word) => /^(--refresh|-r)(=|$)/.test(word));
  if (check) {
    process.stderr.write(
      `stack ${stack}: a run was killed while it changed ${halfDone.join(", ")}, so this one checks first what really exists: ` +
        "--refresh --run-program\n",
    );
  }
  const cli = await findCli();
  const { exitCode, errors } = await runPulumi(cli, ["up", ...args, ...(check ? ["--refresh", "--run-program"] : [])]);
  if (exitCode !== 0 && errors.includes("Another update is currently in progress")) {
    process.stderr.write(await explainConflict(cli, stack));
  }
  if (exitCode === 0 && pending.length > 0) await forget(cli, stack);
  return exitCode;
}

/** The arguments that are not only Pulumi's. */
function readUp(args: string[]): { stack: string | undefined; help: boolean } {
  const options = { stack: { type: "string", short: "s" }, help: { type: "boolean", short: "h" } } as const;
  const { stack, help } = parseArgs({ args, options, strict: false }).values;
  return { stack: typeof stack === "string" && !stack.startsWith("-") ? stack : undefined, help: help === true };
}

/** Pulumi Cloud shows who works on a stack, but not whether the run still works. */
async function explainConflict(cli: string, stack: string): Promise<string> {
  const { stdout } = await promisify(execFile)(cli, ["stack", "--stack", stack]).catch(() => ({ stdout: "" }));
  const value = (name: string) => new RegExp(`^\\s*${name}: (.+)$`, "m").exec(stdout)?.[1] ?? "unknown";
  return (
    `stack ${stack}: a run of ${value("Requested By")}, started ${value("Started")}, has locked it, and only its terminal or job shows ` +
    `whether it still runs. If it does, wait. ${cancel(stack)}\n`
  );
}

/**
 * Ends Pulumi's warnings about resources that a killed run was creating. If the state has such a resource now, a run has created it, or
 * another one in its place; otherwise nobody knows whether it exists.
 */
async function forget(cli: string, stack: string): Promise<void> {
  const state = await State.read(stack);
  const names = [...new Set(state.pending.map(({ name }) => name))];
  if (names.length === 0) return;
  const lost = names.filter((name) => state.resources.every((resource) => resource.name !== name));
  const clear = ["refresh", "--clear-pending-creates"];
  // Only the stack itself, which belongs to no provider: so it needs no connection.
  const words = [...clear, "--target", "**pulumi:pulumi:Stack**", "--run-program=false", "--yes", "--skip-preview"];
  const reason =
    lost.length > 0
      ? `${lost.join(", ")} is not in the state, and may be in the account: look there, and delete it if nobody needs it`
      : await promisify(execFile)(cli, [...words, "--non-interactive", "--stack", stack]).then(
          () => "",
          (error: unknown) => String(error),
        );
  process.stderr.write(
    reason === ""
      ? `stack ${stack}: ${names.join(", ")} is there, so its state no longer notes that a run was killed while creating it.\n`
      : `stack ${stack}: its state still notes that a run was killed while creating something. ${reason}. ` +
          `Then remove the note: ${pulumiCommand(stack, clear.join(" "))} Costs: nothing, because the note is all that is removed.\n`,
  );
}
