import { parseArgs } from "node:util";

import { quote, SCRIPTS } from "../contract/scripts.ts";
import { appContainer } from "./apps.ts";
import { requireStack, UsageError } from "./arguments.ts";
import { dropletTarget } from "./droplet.ts";
import { runSsh } from "./ssh-command.ts";
import { State } from "./state.ts";
import { npmCommand } from "./typed.ts";

const HELP = `Usage: ${npmCommand("STACK", "task", "APP [--] COMMAND ...")}

Runs a command once in a container of its own on the droplet, for example a migration. The container has the image, variables,
folders, network and limits of the app's container that was deployed last, and no public name. COMMAND is the program itself: the
image's entrypoint does not run.

Stdin, stdout and stderr are those of the command. There is no terminal, so use a command that asks nothing. Afterwards, the
container is removed. After Ctrl-C, or if the connection breaks, the command gets SIGTERM, and 10 s to end.

Keep secrets out of COMMAND, because other users of this computer can see it. The app's variables are there, for example:
  ${npmCommand("STACK", "task", "APP -- sh -c 'curl $API_URL'")}

Exit code: the command's; 1 also if it cannot be started, 130 after Ctrl-C, 255 if the connection breaks.
`;

/**
 * The command `task`.
 *
 * @returns the process's exit code
 * @throws Error if the stack has no such app or no droplet
 */
export async function runTask(args: string[]): Promise<number> {
  const { values, app, command } = readTask(args);
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const stack = requireStack("task", values.stack);
  if (app === undefined) throw new UsageError("the app: is not given, its name should follow the options.");
  if (command.length === 0) throw new UsageError("the command: is not given, it should follow the app's name.");
  const state = await State.read(stack);
  const words = [`${SCRIPTS}/apps/task.sh`, app, appContainer(state, app), ...command];
  return runSsh(dropletTarget(state), [], [`bash ${words.map(quote).join(" ")}`]);
}

/** The arguments. Everything after the app's name belongs to its command, its options too. */
export function readTask(args: string[]) {
  const config = {
    options: { stack: { type: "string", short: "s" }, help: { type: "boolean", short: "h" } },
    allowPositionals: true,
  } as const;
  const { tokens } = parseArgs({ ...config, args, strict: false, tokens: true });
  const end = tokens.find(({ kind }) => kind === "positional")?.index ?? args.length;
  const command = args.slice(end + 1);
  const { values } = parseArgs({ ...config, args: args.slice(0, end) });
  return { values, app: args[end], command: command.slice(command[0] === "--" ? 1 : 0) };
}
