import * as pulumi from "@pulumi/pulumi";

/**
 * For the `onError` of what is in the account. The provider takes a deletion for failed where somebody else was faster, so
 * what was deleted by hand ends a `destroy` that runs without a refresh. This says how to go on.
 */
export function tellOfGone(name: string): pulumi.ErrorHook {
  return new pulumi.ErrorHook(`${name}-gone`, async ({ failedOperation, name: resource, errors }) => {
    if (failedOperation === "delete" && /: 404 |Not Found/.test(errors[0] ?? "")) {
      await pulumi.log.error(
        `${resource}: is gone from the account already. Let the stack's state forget it with: ` +
          "npx pulumi refresh --target '**digitalocean:**'; then run the same command again.",
      );
    }
    return false;
  });
}
