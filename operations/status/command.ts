import { setTimeout } from "node:timers/promises";
import { parseArgs, styleText } from "node:util";

import type { Client } from "ssh2";

import { databaseName, MOUNTPOINT, RESOURCES, TYPES } from "../../contract/names.ts";
import { pulumiCommand } from "../../contract/commands.ts";
import { quote, SCRIPTS } from "../../contract/scripts.ts";
import { dial } from "../../ssh/connect.ts";
import { runRemotely } from "../../ssh/run.ts";
import { appContainers } from "../apps.ts";
import { requireStack } from "../arguments.ts";
import { dropletTarget } from "../droplet.ts";
import { keptSince } from "../backups/cluster.ts";
import { isKeptByCloud } from "../findings/backups/backups.ts";
import { bucketServer, declaredBackend, hasBackups, isManaged } from "../findings/expected.ts";
import { printable } from "../findings/finding.ts";
import { outputsOf } from "../outputs.ts";
import { span } from "../span.ts";
import { State } from "../state.ts";
import { npmCommand } from "../typed.ts";
import type { Facts } from "./facts.ts";
import { type Declared, type Row, rowsOf } from "./rows.ts";

/** Seconds between two looks of `--watch`. */
const EVERY = 5;

const HELP = `Usage: ${npmCommand("STACK", "status", "[--json] [--watch]")}

Shows on one screen what serves since when and where, and how droplet, disks, PostgreSQL, backups and apps are doing. A ! marks what a
person should look at. It changes nothing. What is wrong, and why, is shown by doctor; whether all is as declared, by drift.

  --json   for programs
  --watch  looks again every ${EVERY} s, over the same connection, until Ctrl-C

Exit code: 0 nothing needs attention, 2 something does, 1 the droplet could not be asked.
`;

/**
 * The command `status`.
 *
 * @returns the process's exit code
 * @throws UnreachableError if the droplet cannot be reached
 * @throws Error if the stack was not deployed, or its droplet has the scripts of an earlier release
 */
export async function runStatus(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      stack: { type: "string", short: "s" },
      json: { type: "boolean", default: false },
      watch: { type: "boolean", default: false },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const stack = requireStack("status", values.stack);
  const state = await State.read(stack);
  const declared = declaredIn(state, await keptSince(state));
  const client = await dial(dropletTarget(state));
  try {
    for (;;) {
      const facts = await ask(client, state);
      const rows = rowsOf(facts, declared);
      const text = values.json ? asJson(state, facts, rows) : asText(state, facts, rows);
      // Clears the screen, as `watch` does.
      process.stdout.write(`${values.watch && process.stdout.isTTY ? "\u001B[H\u001B[2J" : ""}${text}`);
      if (!values.watch) return rows.some(({ attention }) => attention) ? 2 : 0;
      await setTimeout(EVERY * 1000);
    }
  } finally {
    client.end();
  }
}

function declaredIn(state: State, keptSince: string | undefined): Declared {
  const { backendUrl, siteUrl, dashboardUrl, appUrls = {}, monthlyCost } = outputsOf(state);
  const { region, size } = state.get(TYPES.droplet, RESOURCES.droplet).inputs;
  return {
    urls: { backend: backendUrl, site: siteUrl, dashboard: dashboardUrl },
    apps: appContainers(state),
    appUrls,
    droplet: `${String(size)} in ${String(region)}`,
    monthlyCost,
    hasBackups: hasBackups(state) === true,
    isManaged: isManaged(state),
    keptSince,
    isKeptByCloud: isKeptByCloud(state),
    bucketServer: bucketServer(state),
  };
}

async function ask(client: Client, state: State): Promise<Facts> {
  const database = databaseName(declaredBackend(state)?.variables.get("INSTANCE_NAME") ?? "");
  const command = `python3 -IS ${SCRIPTS}/status.py ${MOUNTPOINT} ${quote(database)}`;
  const { exitCode, stdout } = await runRemotely(client, command);
  if (exitCode === 0) return JSON.parse(stdout) as Facts;
  const update = pulumiCommand(state.stack, "up");
  throw new Error(
    `the droplet could not be asked, see above. If it has the scripts of an earlier release, update it with: ${update}`,
  );
}

/** For a person at a terminal. */
function asText({ stack, recorded }: State, { now }: Facts, rows: Row[]): string {
  const width = Math.max(...rows.map(({ name }) => name.length));
  const lines = rows.map(({ name, text, attention }) => {
    const line = `${attention ? "!" : " "} ${name.padEnd(width)}  ${text}`;
    return attention ? yellow(line) : line;
  });
  const since = recorded === "" ? "" : `, deployed ${span(now - Date.parse(recorded) / 1000)} ago`;
  const count = rows.filter(({ attention }) => attention).length;
  const end =
    count === 0
      ? "Nothing needs attention."
      : `${count === 1 ? "1 line needs" : `${count} lines need`} attention. See why: ${npmCommand(stack, "doctor")}`;
  return printable(`Stack ${stack}${since}\n\n${lines.join("\n")}\n\n${end}\n`);
}

/** For programs: the facts, and what a person would see. */
function asJson({ stack, recorded }: State, facts: Facts, rows: Row[]): string {
  return `${JSON.stringify({ stack, deployed: recorded, rows, facts }, undefined, 2)}\n`;
}

function yellow(text: string): string {
  return process.stdout.isTTY && process.env["NO_COLOR"] === undefined ? styleText("yellow", text) : text;
}
