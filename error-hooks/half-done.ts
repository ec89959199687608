import * as pulumi from "@pulumi/pulumi";

/**
 * For the `onError` of whatever a provider changes in place. The providers here record a failed change as done, so the next
 * `up` may find nothing to do where nothing was done. This names the one that looks first.
 */
export function tellOfHalfDone(name: string): pulumi.ErrorHook {
  return new pulumi.ErrorHook(`${name}-half-done`, async ({ failedOperation, name: resource }) => {
    if (failedOperation === "update") {
      await pulumi.log.warn(
        `${resource}: its change failed, and the stack's state may have it as done. Mend the cause, then let the next run look ` +
          "at what is really there: npx pulumi up --refresh --run-program",
      );
    }
    return false;
  });
}
