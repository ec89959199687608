/**
 * Commands in messages, as the reader has to type them. On a sandbox, all go through the sandbox's own command, which knows
 * its state, cloud and passphrase. That command sets this variable for the programs that it runs.
 */
export const ON_SANDBOX = process.env["CONVEX_DROPLET_ON_SANDBOX"] === "true";

/** The Pulumi CLI, for example `npx pulumi`. */
export const PULUMI = ON_SANDBOX ? "npm run sandbox -- pulumi" : "npx pulumi";

/** A command of Pulumi on a stack, for example `npx pulumi up --stack dev --refresh`. */
export function pulumiCommand(stack: string, verb: string, ...rest: string[]): string {
  return [PULUMI, verb, "--stack", stack, ...rest].join(" ");
}
