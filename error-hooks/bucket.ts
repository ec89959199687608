import * as pulumi from "@pulumi/pulumi";
import { onThisStack } from "../settings/on-this-stack.ts";

/**
 * For the `onError` of a bucket whose name only this stack knows. If a run is killed after the bucket was made and before the state
 * is written, the bucket cannot be made again, and only the storage itself could delete it. This hook names the way on.
 *
 * @param suffix  logical name of the resource with the end of the bucket's name
 */
export function reportLostBucket(name: string, suffix: string): pulumi.ErrorHook {
  return new pulumi.ErrorHook(`${name}-lost-bucket`, async ({ failedOperation, newInputs = {}, errors }) => {
    if (failedOperation === "create" && /BucketAlready(?:OwnedByYou|Exists)/.test(errors[0] ?? "")) {
      await pulumi.log.error(
        `bucket ${String(newInputs["name"])} is in the account but not in the stack's state: probably, a run was killed while ` +
          `creating it. Use another one: ${onThisStack("up", `--replace '**${suffix}'`)}; and if this one is ` +
          "empty, delete it in DigitalOcean's control panel.",
      );
    }
    return false;
  });
}
