import { appendFile, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import { chooseFormat, requireStack } from "../arguments.ts";
import { printable, without } from "../findings/finding.ts";
import { look, type Report } from "../findings/look.ts";
import { npmCommand } from "../typed.ts";
import { asAnnotations, asJson, asSummary, asText, EXIT_CODES, status } from "./report.ts";

const HELP = `Usage: ${npmCommand("STACK", "drift", "[--format FORMAT] [--output FILE] [--ignore PATTERN]...")}

Compares the cloud and the inside of the droplet with the stack's last deployment. Changes nothing.

  --format   text (default), json, or github: annotations, and a summary if GITHUB_STEP_SUMMARY names a file
  --output   also writes the JSON report to a file
  --ignore   ignores findings whose path matches; * matches any text, for example 'containers.swarm-platform*';
             a value may contain several patterns, one on each line. What every check should ignore, also doctor and CI, is in
             the setting driftIgnore

Exit code: 0 clean, 2 drift, 1 something could not be checked. docs/drift.md explains the findings.
`;

const FORMATS: Record<string, (report: Report) => string> = { text: asText, json: asJson, github: asAnnotations };

/**
 * The command `drift`.
 *
 * @returns the process's exit code
 * @throws Error if nothing can be compared; then the exit code is 1, too
 */
export async function runDrift(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      stack: { type: "string", short: "s" },
      format: { type: "string", default: "text" },
      output: { type: "string" },
      ignore: { type: "string", multiple: true, default: [] },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const stack = requireStack("drift", values.stack);
  const format = chooseFormat(FORMATS, values.format);
  const ignored = values.ignore
    .flatMap((given) => given.split("\n").map((pattern) => pattern.trim()))
    .filter((pattern) => pattern !== "");
  const seen = await look(stack);
  const report = {
    ...seen,
    findings: without(seen.findings, ignored),
  };
  process.stdout.write(printable(format(report)));
  if (values.output !== undefined) await writeFile(values.output, asJson(report));
  const summary = process.env["GITHUB_STEP_SUMMARY"];
  if (values.format === "github" && summary !== undefined) await appendFile(summary, printable(asSummary(report)));
  return EXIT_CODES[status(report)];
}
