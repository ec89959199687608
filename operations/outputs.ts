import type { State } from "./state.ts";
import { pulumiCommand } from "../contract/commands.ts";
import type { MonthlyCost } from "../digitalocean/cost.ts";

/** The outputs of a stack that the commands of this folder need. */
export interface Outputs {
  backendUrl: string;
  siteUrl: string;
  dashboardUrl: string;
  adminKey: string;
  publicIp?: string;
  /** Empty, or absent in a state of an earlier release, unless the dashboard has one. */
  dashboardPassword?: string;
  /** URLs for containers on the droplet, by database; absent without further databases. */
  databaseUrls?: Record<string, string>;
  /** URLs of public apps, by app; absent without apps. */
  appUrls?: Record<string, string>;
  /** Absent in a state of an earlier release. */
  monthlyCost?: MonthlyCost;
}

const NEEDED = ["backendUrl", "siteUrl", "dashboardUrl", "adminKey"] as const;

/**
 * A deployed stack's outputs, with the secret one decrypted.
 *
 * @throws Error if no deployment of the stack was completed
 */
export function outputsOf(state: State): Outputs {
  const [stack] = state.all("pulumi:pulumi:Stack");
  const outputs = (stack?.outputs ?? {}) as Partial<Outputs>;
  const missing = NEEDED.filter((name) => outputs[name] === undefined);
  if (missing.length > 0) {
    throw new Error(
      `stack ${state.stack}: has no ${missing.join(", ")}, it should be deployed. Deploy it with: ${pulumiCommand(state.stack, "up")}`,
    );
  }
  return outputs as Outputs;
}
