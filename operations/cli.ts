import { parseArgs } from "node:util";

import type { Target } from "../ssh/connect.ts";
import { messageOf, requireStack, UsageError } from "./arguments.ts";
import { runBackup } from "./backups/backup.ts";
import { runDrill } from "./backups/drill.ts";
import { runRestore } from "./backups/restore.ts";
import { runSnapshot } from "./backups/snapshot.ts";
import { runDoctor } from "./doctor/command.ts";
import { runDrift } from "./drift/command.ts";
import { databasesOf, farEnd, NEAR_PORT, shownThroughTunnel } from "./databases.ts";
import { dropletTarget } from "./droplet.ts";
import { writeEnvironment } from "./env/command.ts";
import { runMoveIn } from "./move-in/command.ts";
import { runLogs } from "./logs.ts";
import { runPreview } from "./preview.ts";
import { runTask } from "./task.ts";
import { type Outputs, outputsOf } from "./outputs.ts";
import { INTERRUPTED, runSsh } from "./ssh-command.ts";
import { runReset } from "./reset.ts";
import { runStatus } from "./status/command.ts";
import { State } from "./state.ts";
import { endWithReader } from "../contract/closed-output.ts";
import { pulumiCommand } from "../contract/commands.ts";
import { npmCommand } from "./typed.ts";
import { runUp } from "./up.ts";
import { runUpgrade } from "./upgrade.ts";

const HELP = `Usage: ${npmCommand("STACK", "ssh", "[COMMAND ...]")}
       ${npmCommand("STACK", "tunnel")}
       ${npmCommand("STACK", "preview|up|status|logs|task|env|drift|doctor|backup|restore|drill|snapshot|move-in|upgrade|reset", "[OPTION ...]")}

  ssh      opens a shell on the stack's droplet, or runs a command there
  tunnel   forwards the dashboard, the API and the HTTP actions to this computer until Ctrl-C, unless they have public names; and the
           further databases
  preview  shows what up would change, and which rules it would break
  up       deploys, also after a run that was killed
  status   shows what serves, and how droplet, database, backups and apps are doing
  logs     prints what backend, dashboard, PostgreSQL, proxy, backups or an app have logged
  task     runs a command with an app's image and variables
  env      gives an app the stack's URLs and admin key
  drift    compares the cloud and the inside of the droplet with the last deployment
  doctor   shows what is wrong, why, and how to fix it
  backup   lists what can be restored, makes a backup now, or reads all of them
  restore  restores database and files to a moment
  drill    proves that the backups can be restored
  snapshot lists, makes and deletes snapshots of the volume
  move-in  moves a hand-made installation into the stack
  reset    replaces the instance by an empty one with the same keys
  upgrade  shows what the next up would do with another backend image

All after tunnel list their options with --help. All read the stack's state, so they need its passphrase; preview, up, drift,
doctor and snapshot also call DigitalOcean.
`;

/** The commands that parse their own arguments. */
const COMMANDS: Record<string, (args: string[]) => Promise<number>> = {
  preview: runPreview,
  up: runUp,
  status: runStatus,
  logs: runLogs,
  task: runTask,
  env: writeEnvironment,
  drift: runDrift,
  doctor: runDoctor,
  backup: runBackup,
  restore: runRestore,
  drill: runDrill,
  snapshot: runSnapshot,
  "move-in": runMoveIn,
  reset: runReset,
  upgrade: runUpgrade,
};

/** @returns the process's exit code */
async function main(args: string[]): Promise<number> {
  const own = COMMANDS[args[0] ?? ""];
  if (own !== undefined) return own(args.slice(1));
  const { values, positionals, command } = parse(args);
  const [verb, ...rest] = positionals;
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  if (verb !== "ssh" && verb !== "tunnel") {
    const is = verb === undefined ? "the command: is not given" : `${verb}: is not a command`;
    throw new UsageError(`${is}, it should be one of ssh, tunnel, ${Object.keys(COMMANDS).join(", ")}.`);
  }
  if (rest.length > 0) throw new UsageError(`${rest.join(" ")}: is not known, --stack STACK should follow ${verb}.`);
  if (verb === "tunnel" && command.length > 0) {
    throw new UsageError(`${command.join(" ")}: is not known, nothing should follow the stack's name.`);
  }
  const state = await State.read(requireStack(verb, values.stack));
  const target = dropletTarget(state);
  return verb === "ssh" ? runSsh(target, [], command) : tunnel(state.stack, target, outputsOf(state));
}

/** Everything after the stack's name belongs to the remote command, its options too. */
function parse(args: string[]) {
  const config = {
    options: { stack: { type: "string", short: "s" }, help: { type: "boolean", short: "h" } },
    allowPositionals: true,
  } as const;
  const { tokens } = parseArgs({ ...config, args, strict: false, tokens: true });
  const stack = tokens.find((token) => token.kind === "option" && token.name === "stack");
  const end = stack?.kind === "option" ? stack.index + (stack.inlineValue === true ? 1 : 2) : args.length;
  const command = args.slice(end);
  return { ...parseArgs({ ...config, args: args.slice(0, end) }), command: command.slice(command[0] === "--" ? 1 : 0) };
}

async function tunnel(stack: string, target: Target, outputs: Outputs): Promise<number> {
  const { dashboardUrl, backendUrl, siteUrl, publicIp, dashboardPassword } = outputs;
  // The remote ends are the containers' ports; public ones also answer on loopback. If a URL has another name, its port
  // belongs to something else, such as a proxy, and not to the droplet.
  const near = [dashboardUrl, backendUrl, siteUrl].filter((url) =>
    ["127.0.0.1", target.host, publicIp].includes(new URL(url).hostname),
  );
  const databases = databasesOf(outputs);
  const at = (url: string) => `${url}${near.includes(url) ? "" : " (directly, not through this tunnel)"}`;
  const secret = (name: string) => pulumiCommand(stack, "stack output", `${name} --show-secrets`);
  process.stderr.write(
    `The dashboard is at ${at(dashboardUrl)}\n` +
      (dashboardPassword === undefined || dashboardPassword === ""
        ? ""
        : `  as user convex, with the password of: ${secret("dashboardPassword")}\n`) +
      `  log in at ${at(backendUrl)}\n  with the key of: ${secret("adminKey")}\n` +
      `HTTP actions are at ${at(siteUrl)}\n` +
      databases
        .map(
          (name) =>
            `Database ${name} is at ${shownThroughTunnel(outputs.databaseUrls?.[name] ?? "")}\n` +
            `  with the password in: ${secret("databaseUrls")}\n`,
        )
        .join("") +
      (near.length > 0 || databases.length > 0
        ? "Ctrl-C closes the tunnel.\n"
        : "All of them are public, so no tunnel is needed.\n"),
  );
  if (near.length === 0 && databases.length === 0) return 0;
  const forwards = near
    .map((url) => new URL(url).port)
    .map((port) => `127.0.0.1:${port}:127.0.0.1:${port}`)
    .concat(databases.slice(0, 1).map((name) => `127.0.0.1:${NEAR_PORT}:${farEnd(outputs.databaseUrls?.[name] ?? "")}`))
    .flatMap((forward) => ["-L", forward]);
  const code = await runSsh(target, ["-N", "-o", "ExitOnForwardFailure=yes", ...forwards], []);
  return code === INTERRUPTED ? 0 : code;
}

endWithReader();
const given = process.argv.slice(2);
main(given).then(
  (code) => (process.exitCode = code),
  (error: unknown) => {
    process.stderr.write(
      `error: ${messageOf(error, [...Object.keys(COMMANDS), "tunnel"].find((name) => name === given[0]) ?? "ssh")}\n`,
    );
    process.exitCode = 1;
  },
);
