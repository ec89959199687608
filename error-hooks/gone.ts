import * as pulumi from "@pulumi/pulumi";
import { onThisStack } from "../settings/on-this-stack.ts";

/**
 * For the `onError` of resources in the account. If somebody has deleted a resource by hand, the provider fails to delete it,
 * and a `destroy` without a refresh ends there. This hook names the commands to continue with.
 */
export function reportGone(name: string): pulumi.ErrorHook {
  return new pulumi.ErrorHook(`${name}-gone`, async ({ failedOperation, name: resource, errors }) => {
    if (failedOperation === "delete" && /: 404 |Not Found/.test(errors[0] ?? "")) {
      await pulumi.log.error(
        `${resource}: is already gone from the account. Remove it from the stack's state with: ` +
          `${onThisStack("refresh", "--target '**digitalocean:**'")}; then run the same command again.`,
      );
    }
    return false;
  });
}
