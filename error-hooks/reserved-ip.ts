import * as pulumi from "@pulumi/pulumi";

import { account } from "../digitalocean/own-account.ts";
import { onThisStack } from "../settings/on-this-stack.ts";

/**
 * For the `onError` of a reserved address. A droplet can have only one. If a run was killed after DigitalOcean had made one, it
 * is in no state; but somebody may also have given the droplet one by hand, so this hook only names it.
 */
export function reportLostAddress(name: string): pulumi.ErrorHook {
  return new pulumi.ErrorHook(`${name}-lost-address`, async ({ failedOperation, id, newInputs = {} }) => {
    if (failedOperation === "delete") return false;
    const { dropletId } = newInputs as { dropletId?: number };
    const addresses = await account().list<{ ip: string; droplet: { id: number } | null }>(
      "/v2/reserved_ips",
      "reserved_ips",
    );
    for (const { ip } of addresses.filter(({ ip, droplet }) => droplet?.id === dropletId && ip !== id)) {
      await pulumi.log.warn(
        `the droplet already has the reserved address ${ip}, which is not in the stack's state. If a run was killed while creating it, ` +
          `or nobody needs it, delete it with doctl compute reserved-ip delete ${ip}; then run ${onThisStack("up")} again`,
      );
    }
    return false;
  });
}
