import * as pulumi from "@pulumi/pulumi";
import { onThisStack } from "../settings/on-this-stack.ts";

/**
 * For the `onError` of resources that run a script on the droplet, or copy files there. If their SSH connection breaks, the provider
 * only reports that the command ended without a status.
 */
export function explainBrokenConnection(name: string): pulumi.ErrorHook {
  return new pulumi.ErrorHook(`${name}-broken-connection`, async ({ name: resource, errors }) => {
    if (/without exit status|connection (was )?lost|connection reset|broken pipe|\bEOF\b/.test(errors[0] ?? "")) {
      await pulumi.log.error(
        `${resource}: the SSH connection to the droplet broke. The droplet may have lost its power, or goes on with this work. ` +
          `Run ${onThisStack("up")} again: it waits for that, and completes the rest.`,
      );
    }
    return false;
  });
}
