import * as pulumi from "@pulumi/pulumi";
import { onThisStack } from "../settings/on-this-stack.ts";

/**
 * For the `onError` of resources that a provider changes in place. The providers record a failed change as done, so the next
 * `up` may do nothing. This hook names the `up` that first checks what exists.
 */
export function reportHalfDone(name: string): pulumi.ErrorHook {
  return new pulumi.ErrorHook(`${name}-half-done`, async ({ failedOperation, name: resource }) => {
    if (failedOperation === "update") {
      await pulumi.log.warn(
        `${resource}: its change failed, but the stack's state may have recorded it as done. Fix the cause, then let the next run ` +
          `check what really exists: ${onThisStack("up", "--refresh --run-program")}`,
      );
    }
    return false;
  });
}
