import { existsSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";

import { execa } from "execa";

import { endWithReader } from "../contract/closed-output.ts";
import { folderOf } from "../contract/sandbox.ts";
import { accessOverTls, getByDomain } from "./domain.ts";
import { type SandboxHome, sandboxHome } from "./home.ts";
import { cloudLog, deploy, operate, prepare, pulumi, showPulumi, STACK, tearDown } from "./sandbox.ts";
import { projectFolder } from "./project.ts";

const HELP = `Usage: npm run sandbox [-- COMMAND]

A DigitalOcean on this computer, with a Convex that the real Pulumi engine deploys there.

  up [--domain NAME]   prepares what is missing, then deploys (the default); with --domain, under this name and with
                       TLS, for example: npm run sandbox -- --domain convex.test
  up OPTION ...        only deploys, with options of Pulumi's up, for example: up --stack sandbox --refresh
  preview [OPTION ...] what up would change, and which rules it would break
  status [--stack ${STACK}]   what runs, and where; with --stack, how the stack is doing
  ssh [COMMAND ...]    a shell on the droplet, or one command there
  logs [NAME] [OPTION ...]   what backend (the default), dashboard, postgres, proxy, backups or an app have logged; or cloud
  task APP COMMAND ... a command with an app's image and variables
  tunnel               makes the dashboard reachable on this computer until Ctrl-C
  env --file FOLDER    URLs and admin key for the app in this folder
  drift [OPTION ...]   what was changed since the deployment
  doctor [OPTION ...]  what fails, why, and the fix
  backup, restore, drill, snapshot   with the sandbox's Spaces
  move-in [OPTION ...] moves a hand-made installation into the sandbox's stack
  reset [--yes]        replaces the instance by an empty one with the same keys
  upgrade --check      what the next up would do with another backend image
  pulumi ARGS ...      any Pulumi command on the sandbox, for example: pulumi stack output adminKey --show-secrets
  down [--force]       removes all of it; --force also if the engine fails

env and those below it list their options with --help, for example: npm run sandbox -- env --help
`;

const SEE = "See: npm run sandbox -- help";

/** @returns the exit code */
async function main(args: string[]): Promise<number> {
  const [command = "up", ...rest] = args[0]?.startsWith("--domain") ? ["up", ...args] : args;
  const home = sandboxHome(folderOf(process.env));
  switch (command) {
    case "up": {
      // All other options are those of the command for real stacks.
      if (rest.length > 0 && rest[0]?.startsWith("--domain") !== true) {
        requireSandbox(home);
        return operate(home, "up", rest);
      }
      const { values } = parseArgs({ args: rest, options: { domain: { type: "string" } } });
      await prepare(home);
      await deploy(home, STACK, values.domain);
      return summary(home);
    }
    case "status":
      requireSandbox(home);
      return rest.length === 0 ? summary(home) : operate(home, "status", rest);
    case "preview":
    case "ssh":
    case "tunnel":
    case "task":
    case "env":
    case "drift":
    case "doctor":
    case "backup":
    case "restore":
    case "snapshot":
    case "drill":
    case "move-in":
    case "reset":
    case "upgrade":
      requireSandbox(home);
      return operate(home, command, rest);
    case "logs":
      requireSandbox(home);
      return rest[0] === "cloud" ? showCloudLog(home) : operate(home, "logs", rest);
    case "pulumi":
      requireSandbox(home);
      return showPulumi(home, ...rest);
    case "down": {
      const { values } = parseArgs({ args: rest, options: { force: { type: "boolean" } } });
      if (!existsSync(home.root)) {
        process.stdout.write("There is no sandbox. Make one with: npm run sandbox\n");
        return 0;
      }
      await tearDown(home, values.force);
      process.stdout.write("The sandbox is gone. Make a new one with: npm run sandbox\n");
      return 0;
    }
    case "help":
    case "--help":
    case "-h":
      process.stdout.write(HELP);
      return 0;
    default:
      throw new Error(`${command}: is not a command of the sandbox.\n${SEE}`);
  }
}

/** Prints what runs and where, from the stack's outputs and from requests to its addresses. */
async function summary(home: SandboxHome): Promise<number> {
  const outputs = JSON.parse(await pulumi(home, "stack", "output", "--json", "--stack", STACK)) as Record<
    string,
    string
  >;
  if (outputs["backendUrl"] === undefined) {
    process.stdout.write("Nothing is deployed. Deploy with: npm run sandbox\n");
    return 1;
  }
  const dashboard = outputs["dashboardUrl"] ?? "";
  const rows = [
    ["Backend", outputs["backendUrl"], await answers(home, `${outputs["backendUrl"]}/version`)],
    ["HTTP actions", outputs["siteUrl"] ?? "", await answers(home, `${outputs["siteUrl"] ?? ""}/version`)],
    ["Dashboard", dashboard, dashboard.startsWith("https:") ? "" : "through: npm run sandbox -- tunnel"],
    ["Droplet", outputs["publicIp"] ?? "", "shell: npm run sandbox -- ssh"],
    ["Cloud API", `http://127.0.0.1:${home.apiPort}`, `log: ${path.relative(process.cwd(), cloudLog(home))}`],
  ];
  const next = [
    ["admin key", "npm run --silent sandbox -- pulumi stack output adminKey --show-secrets"],
    ["status", "npm run sandbox -- status"],
    ["backend's log", "npm run sandbox -- logs"],
    ["what is wrong", "npm run sandbox -- doctor"],
    ["remove all", "npm run sandbox -- down"],
  ];
  process.stdout.write(`\nConvex instance ${outputs["instanceName"] ?? ""} on stack ${STACK}:\n${table(rows)}\n`);
  const access = await accessOverTls(home, Object.values(outputs));
  if (access.length > 0) process.stdout.write(`Over TLS, from this computer:\n${table(access)}\n`);
  process.stdout.write(`Next:\n${table(next)}`);
  return 0;
}

async function answers(home: SandboxHome, url: string): Promise<string> {
  try {
    const { status } = url.startsWith("https:")
      ? await getByDomain(home, url)
      : await fetch(url, { signal: AbortSignal.timeout(3000) });
    return status === 200 ? "answers" : `answers ${status}`;
  } catch {
    return "does not answer; see: npm run sandbox -- logs";
  }
}

function table(rows: string[][]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows
    .map(
      (row) =>
        `  ${row
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}

/** The last requests to the sandbox's cloud. */
async function showCloudLog(home: SandboxHome): Promise<number> {
  return (await execa("tail", ["-n", "50", cloudLog(home)], { stdio: "inherit", reject: false })).exitCode ?? 1;
}

function requireSandbox(home: SandboxHome): void {
  if (!existsSync(projectFolder(home))) throw new Error("there is no sandbox. Make one with: npm run sandbox");
}

// Ctrl-C also reaches the child process; this process ends after it.
process.on("SIGINT", () => undefined);

endWithReader();
main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    const { message, code } = error instanceof Error ? (error as NodeJS.ErrnoException) : { message: String(error) };
    process.stderr.write(`error: ${message}${code?.startsWith("ERR_PARSE_ARGS") === true ? `\n${SEE}` : ""}\n`);
    process.exitCode = 1;
  },
);
