import * as pulumi from "@pulumi/pulumi";

import { onThisStack } from "../settings/on-this-stack.ts";
import { RefusedError } from "./account.ts";
import { account } from "./own-account.ts";

/**
 * For the `beforeCreate` of what first connects to a droplet, and is triggered by its id. If a run was killed while it replaced the droplet, the
 * state still has the one that was deleted, and the next run would try to reach it until its time is over.
 */
export function refuseMissingDroplet(name: string): pulumi.ResourceHook {
  return new pulumi.ResourceHook(`${name}-missing-droplet`, async ({ newInputs }) => {
    const [id = ""] = (newInputs as { triggers?: string[] }).triggers ?? [];
    if (!(await isMissing(id))) return;
    throw new Error(
      `droplet ${id} is in the stack's state, but not in the account: somebody has deleted it, or a run that was killed. ` +
        `Let a run check what really exists: ${onThisStack("up", "--refresh --run-program --skip-preview")}`,
    );
  });
}

/** If the API does not answer, the run tries to reach the droplet. */
async function isMissing(id: string): Promise<boolean> {
  try {
    await account().ask("GET", `/v2/droplets/${id}`);
    return false;
  } catch (error) {
    return error instanceof RefusedError && error.status === 404;
  }
}
