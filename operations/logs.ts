import { parseArgs } from "node:util";

import { CONTAINERS } from "../contract/names.ts";
import { appContainers } from "./apps.ts";
import { requireStack, UsageError } from "./arguments.ts";
import { dropletTarget } from "./droplet.ts";
import { declaredEdge } from "./findings/expected.ts";
import { INTERRUPTED, runSsh } from "./ssh-command.ts";
import { State } from "./state.ts";
import { pulumiCommand } from "../contract/commands.ts";
import { npmCommand } from "./typed.ts";

const HELP = `Usage: ${npmCommand("STACK", "logs", "[NAME] [--lines N] [--follow]")}

Prints the last lines of a log on the droplet:

  backend    what the backend and its functions have logged (the default)
  dashboard  what the dashboard has logged
  postgres   what PostgreSQL has logged
  proxy      requests and errors; only with a domain
  backups    what backups, restore points and drills have logged
  APP        what the last deployed version of an app has logged; app:APP if it has one of the names above

  --lines N  how many lines, from 0 to 100000; 100 if it is not given
  --follow   goes on with new lines until Ctrl-C

Exit code: 0 printed, 1 the log could not be read.
`;

type Log = (lines: number, follow: string) => string;

const ofContainer =
  (name: string): Log =>
  (lines, follow) =>
    `docker logs --tail ${lines} ${follow} ${name} 2>&1`;

/** The droplet's command that prints a log. All of them print new lines after `--follow`. */
const LOGS: Record<string, Log> = {
  backend: ofContainer(CONTAINERS.backend),
  dashboard: ofContainer(CONTAINERS.dashboard),
  postgres: (lines, follow) =>
    "if [ -e /etc/convex-droplet/managed-server.conf ]; then echo 'The log of a managed database is in DigitalOcean'\\''s control panel.' >&2; exit 1; fi; " +
    `tail --lines ${lines} ${follow} $(ls -t /var/log/postgresql/*.log | head -n 1)`,
  proxy: (lines, follow) => `tail --lines ${lines} ${follow} /var/log/nginx/access.log /var/log/nginx/error.log`,
  backups: (lines, follow) => `journalctl --no-pager --quiet --lines ${lines} ${follow} --unit 'convex-*'`,
};

/**
 * The command `logs`.
 *
 * @returns the process's exit code
 * @throws Error if there is no such log, or the stack was not deployed
 */
export async function runLogs(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    options: {
      stack: { type: "string", short: "s" },
      lines: { type: "string", short: "n", default: "100" },
      follow: { type: "boolean", short: "f", default: false },
      help: { type: "boolean", short: "h" },
    },
    allowPositionals: true,
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const stack = requireStack("logs", values.stack);
  const [name = "backend", ...more] = positionals;
  if (more.length > 0) throw new UsageError(`${more.join(" ")}: is not known, one name is enough.`);
  if (!/^\d{1,6}$/.test(values.lines) || Number(values.lines) > 100_000) {
    throw new UsageError(`--lines: ${values.lines} is not valid, it should be a number from 0 to 100000.`);
  }
  const state = await State.read(stack);
  if (name === "proxy" && declaredEdge(state) === undefined) {
    throw new Error(
      `proxy: there is none, because the stack has no domain. Set one with: ${pulumiCommand(stack, "config set", "domain example.com")}`,
    );
  }
  const log = logNamed(name, state);
  // On a terminal, the command on the droplet ends with this one.
  const options = values.follow && process.stdout.isTTY ? ["-t"] : [];
  const command = log(Number(values.lines), values.follow ? "--follow" : "");
  const code = await runSsh(dropletTarget(state), options, [command]);
  return code === INTERRUPTED || code === 0 ? 0 : 1;
}

/**
 * The log with this name; the droplet's own come first.
 *
 * @throws Error if there is none; the message lists those that there are
 */
export function logNamed(name: string, state: State): Log {
  const apps = appContainers(state);
  const container = apps.get(name.replace(/^app:/, ""));
  const log = LOGS[name] ?? (container === undefined ? undefined : ofContainer(container));
  if (log !== undefined) return log;
  const names = [...Object.keys(LOGS), ...apps.keys()];
  throw new UsageError(`${name}: has no log, it should be one of ${names.join(", ")}.`);
}
