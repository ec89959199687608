/** Variables with which the Convex CLI would not use a self-hosted deployment, and what it does instead. */
const RIVALS: Record<string, string> = {
  CONVEX_DEPLOY_KEY: "with it the Convex CLI deploys to Convex's own cloud",
  CONVEX_DEPLOYMENT_TOKEN: "with it the Convex CLI deploys to Convex's own cloud",
  CONVEX_DEPLOYMENT: "the Convex CLI refuses it beside a self-hosted deployment",
};

/**
 * Refuses variables that rule out a self-hosted deployment.
 *
 * @param place  where they are set, for the message
 * @throws Error naming the variable, never its value
 */
export function refuseRivals(variables: Record<string, string | undefined>, place: string): void {
  for (const [name, reason] of Object.entries(RIVALS)) {
    if ((variables[name] ?? "") === "") continue;
    throw new Error(`${place}: sets ${name}, it should not: ${reason}. Remove it there, then run this again.`);
  }
}
