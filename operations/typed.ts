/**
 * Commands in messages, as the reader has to type them. On a sandbox, all go through the sandbox's own command, which knows
 * its state, cloud and passphrase. That command sets this variable for the programs that it runs.
 */
const ON_SANDBOX = process.env["CONVEX_DROPLET_ON_SANDBOX"] === "true";

/** A command of Pulumi on a stack, for example `npx pulumi up --stack dev --refresh`. */
export function pulumiCommand(stack: string, verb: string, ...rest: string[]): string {
  return [ON_SANDBOX ? "npm run sandbox -- pulumi" : "npx pulumi", verb, "--stack", stack, ...rest].join(" ");
}

/** A command of this repository on a stack, for example `npm run drift -- --stack dev`. */
export function npmCommand(stack: string, name: string, ...rest: string[]): string {
  return [ON_SANDBOX ? `npm run sandbox -- ${name}` : `npm run ${name} --`, "--stack", stack, ...rest].join(" ");
}
