/**
 * Commands as they are typed where the reader is, for messages. On a sandbox all go through its own command, which knows the
 * sandbox's state, cloud and passphrase; it says so in the environment of what it runs.
 */
const ON_SANDBOX = process.env["CONVEX_DROPLET_ON_SANDBOX"] === "true";

/** One of Pulumi's on a stack, for example `npx pulumi up --stack dev --refresh`. */
export function pulumiCommand(stack: string, verb: string, ...rest: string[]): string {
  return [ON_SANDBOX ? "npm run sandbox -- pulumi" : "npx pulumi", verb, "--stack", stack, ...rest].join(" ");
}

/** One of this repository's on a stack, for example `npm run drift -- --stack dev`. */
export function npmCommand(stack: string, name: string, ...rest: string[]): string {
  return [ON_SANDBOX ? `npm run sandbox -- ${name}` : `npm run ${name} --`, "--stack", stack, ...rest].join(" ");
}
