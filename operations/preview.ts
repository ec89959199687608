import { parseArgs } from "node:util";

import { pulumiCommand } from "../contract/commands.ts";
import { POLICY_PACK, runPulumi } from "../contract/run-pulumi.ts";
import { requireStack } from "./arguments.ts";
import { findCli } from "./pulumi-cli.ts";
import { npmCommand } from "./typed.ts";

const HELP = `Usage: ${npmCommand("STACK", "preview", "[OPTION ...]")}

Runs \`${pulumiCommand("STACK", "preview", "--policy-pack policy")} [OPTION ...]\`: shows what \`up\` would change, and checks the resources against the
rules of the policy pack (docs/policy.md). It changes nothing.

OPTION is any option of \`preview\`, such as --diff, --refresh or --target. With --policy-pack-config FILE, rules have another level.

Exit code: Pulumi's; not 0 if a mandatory rule is broken.
`;

/**
 * The command `preview`.
 *
 * @returns the process's exit code, Pulumi's
 */
export async function runPreview(args: string[]): Promise<number> {
  const options = { stack: { type: "string", short: "s" }, help: { type: "boolean", short: "h" } } as const;
  const { stack, help } = parseArgs({ args, options, strict: false }).values;
  if (help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  requireStack("preview", typeof stack === "string" && !stack.startsWith("-") ? stack : undefined);
  const { exitCode } = await runPulumi(await findCli(), ["preview", "--policy-pack", POLICY_PACK, ...args]);
  return exitCode;
}
