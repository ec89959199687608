import { cpus, totalmem } from "node:os";
import { parseArgs } from "node:util";

import { TestCloud } from "../e2e/harness.ts";
import { projectFolder } from "../../sandbox/project.ts";
import { step } from "../../sandbox/progress.ts";
import { measureBackup, reportBackup } from "./backup.ts";
import { EmptyProject } from "./empty.ts";
import { measure, type Measured } from "./measure.ts";
import { divide, PHASES } from "./phases.ts";
import { type Equal, runPlainScript } from "./plain.ts";
import { measureProxy, reportProxy } from "./proxy.ts";
import { median, spread, table } from "./statistics.ts";

const STACK = "bench";

const HELP = `Usage: npm run bench [-- --runs N] [--only proxy|backup]

Measures the program on a separate cloud on this computer, N times (default: 3; about five minutes each). Compares it with one
shell script that does the same work, and with empty programs. Then compares requests through TLS and nginx with those to the
backend's own port (about three minutes), and requests during backups with those without (about six).

  --only proxy, --only backup   measures only these requests
`;

/** The commands that each run measures, by their names in the report. */
const COMMANDS = {
  "cold up": ["up", "--yes", "--skip-preview", "--json"],
  "no-op up": ["up", "--yes", "--skip-preview", "--json", "--expect-no-changes"],
  "no-op preview": ["preview", "--expect-no-changes"],
  destroy: ["destroy", "--yes", "--skip-preview", "--json"],
} as const;

type Command = keyof typeof COMMANDS;

/** All measurements, with one entry for each run. */
interface Results {
  commands: Record<Command, Measured[]>;
  plainScript: number[];
  emptyUp: Record<Empty, number[]>;
}

const EMPTY = ["template", "stripped"] as const;

type Empty = (typeof EMPTY)[number];

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { runs: { type: "string", default: "3" }, only: { type: "string" }, help: { type: "boolean" } },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const runs = Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1) {
    process.stderr.write(`--runs: ${values.runs} is not a number of runs, it should be 1 or more.\n\n${HELP}`);
    return 2;
  }
  const { only } = values;
  if (only !== undefined && only !== "proxy" && only !== "backup") {
    process.stderr.write(`--only: ${only} is unknown, it should be proxy or backup.\n\n${HELP}`);
    return 2;
  }
  await using cloud = await TestCloud.start();
  if (only === undefined) await benchProgram(cloud, runs);
  if (only !== "backup") {
    process.stdout.write(reportProxy(await step("Requests through the proxy", () => measureProxy(cloud, runs))));
  }
  if (only !== "proxy") {
    process.stdout.write(reportBackup(await step("Requests during backups", () => measureBackup(cloud, runs))));
  }
  return 0;
}

async function benchProgram(cloud: TestCloud, runs: number): Promise<void> {
  await using template = await EmptyProject.make("template");
  await using stripped = await EmptyProject.make("stripped");
  await cloud.createStack(STACK, { "allowedCidrs[0]": "127.0.0.0/8" });
  process.stdout.write(report(await measureAll(cloud, { template, stripped }, runs)));
}

async function measureAll(cloud: TestCloud, empty: Record<Empty, EmptyProject>, runs: number): Promise<Results> {
  const equal = await settings(cloud);
  const results: Results = {
    commands: { "cold up": [], "no-op up": [], "no-op preview": [], destroy: [] },
    plainScript: [],
    emptyUp: { template: [], stripped: [] },
  };
  const run = async (command: Command) => {
    const words = [...COMMANDS[command], "--stack", STACK];
    results.commands[command].push(await measure(words, projectFolder(cloud.home), cloud.env));
  };
  const runEmpty = (kind: Empty) =>
    measure(["up", "--yes", "--skip-preview", "--json", "--stack", kind], empty[kind].folder, cloud.env);

  // Warm up, so that no measurement includes the one-time compilation of the engine's helpers.
  for (const kind of EMPTY) {
    await measure(["stack", "init", kind], empty[kind].folder, cloud.env);
    await runEmpty(kind);
  }
  await measure([...COMMANDS["no-op preview"].slice(0, 1), "--stack", STACK], projectFolder(cloud.home), cloud.env);

  for (let index = 1; index <= runs; index += 1) {
    await step(`Run ${index} of ${runs}`, async (progress) => {
      progress("plain script");
      results.plainScript.push(await runPlainScript(cloud, equal));
      for (const command of ["cold up", "no-op up"] as const) {
        progress(command);
        await run(command);
      }
      progress("empty programs");
      for (const kind of EMPTY) results.emptyUp[kind].push((await runEmpty(kind)).seconds);
      for (const command of ["no-op preview", "destroy"] as const) {
        progress(command);
        await run(command);
      }
    });
  }
  return results;
}

/** The stack's settings, so that the comparison has the same size. */
async function settings(cloud: TestCloud): Promise<Equal> {
  const { stdout } = await cloud.pulumi(["config", "--json", "--stack", STACK]);
  const config = JSON.parse(stdout) as Record<string, { value: string }>;
  const value = (key: string) => config[`convex-droplet:${key}`]?.value ?? "";
  return {
    region: value("region"),
    size: value("size"),
    image: value("image"),
    backendImage: value("backendImage"),
    dashboardImage: value("dashboardImage"),
  };
}

function report({ commands, plainScript, emptyUp }: Results): string {
  const names = Object.keys(commands) as Command[];
  const each = (value: (measured: Measured) => number) => names.map((name) => spread(commands[name].map(value)));
  const phases = new Map(
    names.map((name) => [name, commands[name].map(({ events, seconds }) => divide(events, seconds * 1000))]),
  );
  const phaseRows = PHASES.map((phase) => [
    phase,
    ...names.map((name) => median((phases.get(name) ?? []).map((one) => one[phase])).toFixed(1)),
  ]);
  const work = (phases.get("cold up") ?? []).map(
    (one, run) => (commands["cold up"][run]?.seconds ?? NaN) - one["API and its fixed waits"],
  );
  const noOp = commands["no-op up"].map(({ seconds }) => seconds);
  const ratio = (ours: number[], theirs: number[]) => (median(ours) / median(theirs)).toFixed(2);
  const against = (theirs: number[]) => [spread(theirs), ratio(noOp, theirs)];
  const machine = `${cpus().length} processors, ${Math.round(totalmem() / 2 ** 30)} GB`;
  return [
    `\n${plainScript.length} runs on ${machine}; seconds, median (lowest–highest)\n\n`,
    table([
      ["", ...names],
      ["seconds", ...each(({ seconds }) => seconds)],
      ["peak memory, MB", ...each(({ peakMegabytes }) => peakMegabytes)],
    ]),
    "\nWhere the seconds go, medians\n\n",
    table([["", ...names], ...phaseRows]),
    "\nSide by side\n\n",
    table([
      ["", "this program", "compared with", "ratio", "aim"],
      [
        "cold up without the API, one plain script",
        spread(work),
        spread(plainScript),
        ratio(work, plainScript),
        "≤ 1.5",
      ],
      [
        "no-op up, that of an empty program from Pulumi's template",
        spread(noOp),
        ...against(emptyUp.template),
        "≤ 1.5",
      ],
      [
        "no-op up, that of an empty program that is loaded like this one",
        spread(noOp),
        ...against(emptyUp.stripped),
        "",
      ],
    ]),
  ].join("");
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  },
);
