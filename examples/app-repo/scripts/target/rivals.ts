/** Variables that keep the Convex CLI from using a self-hosted deployment, and what it does instead. */
export const RIVALS: Record<string, string> = {
  CONVEX_DEPLOY_KEY: "with it the Convex CLI deploys to Convex's own cloud",
  CONVEX_DEPLOYMENT_TOKEN: "with it the Convex CLI deploys to Convex's own cloud",
  CONVEX_DEPLOYMENT: "the Convex CLI refuses it together with a self-hosted deployment",
};
