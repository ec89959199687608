import path from "node:path";
import { parseArgs } from "node:util";

import { chooseFormat, requireStack } from "../arguments.ts";
import { printable } from "../findings/finding.ts";
import { type Examination, examine } from "./examine.ts";
import { npmCommand } from "../typed.ts";

const HELP = `Usage: ${npmCommand("STACK", "doctor", "[--app FOLDER] [--format FORMAT]")}

Use it when something does not work. It checks everything from the droplet to a call of a function, step by step, and shows
what is wrong, why, and how to fix it. It changes nothing.

  --app      an app's folder; in a monorepo, the folder of the functions. Checks that the Convex CLI would reach this
             stack with an accepted key, that the app itself calls this stack, and that sign-in can work
  --format   text (default) or json

Exit code: 0 all is healthy, 2 there is a problem, 1 something could not be checked.
`;

const FORMATS: Record<string, (examination: Examination) => string> = { text: asText, json: asJson };

/**
 * The command `doctor`.
 *
 * @returns the process's exit code
 * @throws Error if nothing can be checked; then the exit code is 1, too
 */
export async function runDoctor(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      stack: { type: "string", short: "s" },
      app: { type: "string" },
      format: { type: "string", default: "text" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const stack = requireStack("doctor", values.stack);
  const format = chooseFormat(FORMATS, values.format);
  // npm sets INIT_CWD to the folder that it was called from.
  const app = values.app === undefined ? undefined : path.resolve(process.env["INIT_CWD"] ?? "", values.app);
  const examination = await examine(stack, app);
  process.stdout.write(printable(format(examination)));
  const found = examination.stations.map(({ status }) => status);
  if (found.includes("ill")) return 2;
  return found.includes("unknown") ? 1 : 0;
}

/** The words for people for the JSON's `well`, `ill` and `unknown`. */
const LABELS = { well: "ok", ill: "problem", unknown: "unknown" };

function asText({ stack, stations, elsewhere }: Examination): string {
  const lines = stations.flatMap(({ name, status, said, ailments }) => [
    `${LABELS[status].padEnd(8)} ${name}${said === "" ? "" : `: ${said}`}`,
    ...ailments.flatMap(({ symptom, cause, cure, costs }, index) => [
      `         symptom  ${symptom}`,
      ...(cause === undefined ? [] : [`         cause    ${cause}`]),
      // Several problems in a row may have the same fix: print it once.
      ...(cure === ailments[index + 1]?.cure
        ? []
        : [`         fix      ${cure}`, ...(costs === undefined ? [] : [`         costs    ${costs}`])]),
    ]),
  ]);
  const first = stations.find(({ status }) => status === "ill");
  if (elsewhere > 0) {
    const differences = elsewhere === 1 ? "1 more thing is" : `${elsewhere} more things are`;
    lines.push(`${differences} not as declared, without being the cause: ${npmCommand(stack, "drift")}`);
  }
  if (first?.ailments[0] !== undefined) lines.push(`Start with ${first.name}: ${first.ailments[0].cure}`);
  else if (stations.every(({ status }) => status === "well")) lines.push(`Stack ${stack} is healthy.`);
  else lines.push(`No problem was found in stack ${stack}, but not everything could be checked.`);
  return `${lines.join("\n")}\n`;
}

function asJson(examination: Examination): string {
  return `${JSON.stringify(examination, undefined, 2)}\n`;
}
