import { readFile, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import { messageOf, UsageError } from "../arguments.ts";
import { announceDrift, type DriftStatus } from "./drift-issue.ts";
import { Repository, workflowRun } from "./github.ts";
import { describePreview, readPreview, reportOf } from "./preview.ts";
import { putComment } from "./sticky-comment.ts";

const HELP = `Usage: npm run workflow -- preview --stack STACK --report FILE
       npm run workflow -- comment --stack STACK --report FILE --pull-request NUMBER
       npm run workflow -- issue --stack STACK --report FILE --status clean|drift

Steps of the workflows in .github/workflows:

  preview   previews a stack with the policy pack: prints broken rules and changes to the log, and writes a report without values
  comment   shows the report of a preview in the stack's one comment on a pull request
  issue     opens, updates or closes the stack's one issue about drift

The last two call GitHub with GITHUB_TOKEN. They read the repository and the run from a workflow's environment.
`;

interface Options {
  stack: string;
  report: string;
  "pull-request": string;
  status: string;
}

const VERBS: Record<string, { needs: (keyof Options)[]; run: (options: Options) => Promise<number> }> = {
  preview: { needs: ["stack", "report"], run: preview },
  comment: { needs: ["stack", "report", "pull-request"], run: comment },
  issue: { needs: ["stack", "report", "status"], run: issue },
};

async function main(args: string[]): Promise<number> {
  const text = { type: "string", default: "" } as const;
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...{ stack: text, report: text, "pull-request": text, status: text },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const words = positionals.join(" ");
  const verb = VERBS[words];
  if (verb === undefined) {
    const is = words === "" ? "the step: is not given" : `${words}: is not known`;
    throw new UsageError(`${is}, it should be one of ${Object.keys(VERBS).join(", ")}.`);
  }
  const missing = verb.needs.filter((option) => values[option] === "");
  if (missing.length > 0)
    throw new UsageError(`${words}: has no --${missing.join(", --")}, it should have all of them.`);
  return verb.run(values);
}

async function preview({ stack, report }: Options): Promise<number> {
  const read = await readPreview(stack);
  process.stdout.write(describePreview(read));
  await writeFile(report, reportOf(stack, read));
  return read.exitCode;
}

async function comment(options: Options): Promise<number> {
  const pullRequest = Number(options["pull-request"]);
  if (!Number.isInteger(pullRequest) || pullRequest < 1) {
    throw new Error(
      `--pull-request: ${options["pull-request"]} is not the number of a pull request. Name one, such as 7.`,
    );
  }
  // If there is no report, a step before the preview failed.
  const report = await readFile(options.report, "utf8").catch(() => reportOf(options.stack, undefined));
  await putComment(Repository.fromEnvironment(), pullRequest, options.stack, `${report}\n${workflowRun()}\n`);
  return 0;
}

async function issue({ stack, report, status }: Options): Promise<number> {
  if (!isStatus(status)) throw new Error(`--status: ${status} is not known, it should be clean or drift.`);
  const text = `${await readFile(report, "utf8")}\n${workflowRun()}\n`;
  await announceDrift(Repository.fromEnvironment(), stack, status, text);
  return 0;
}

function isStatus(text: string): text is DriftStatus {
  return text === "clean" || text === "drift";
}

main(process.argv.slice(2)).then(
  (code) => (process.exitCode = code),
  (error: unknown) => {
    process.stderr.write(`error: ${messageOf(error, "workflow")}\n`);
    process.exitCode = 1;
  },
);
