import * as command from "@pulumi/command";
import type * as pulumi from "@pulumi/pulumi";

import type { FileBuckets } from "./file-storage.ts";
import { type Connection, runScript } from "./machine.ts";

/**
 * Uses each bucket from inside the containers' network, as the backend will. The backend itself asks its buckets only with the first
 * file, and only its log would show a wrong name or key.
 *
 * @param inPreview  asks in a preview, from this computer
 * @param machineId  changes with each machine, which has to know the buckets
 * @param inside  image and network of the backend's container
 */
export function probeBuckets(
  name: string,
  buckets: FileBuckets,
  inPreview: pulumi.ResourceHook[],
  connection: Connection,
  machineId: pulumi.Input<string>,
  inside: { image: string; network: pulumi.Input<string>; mountpoint: pulumi.Input<string> },
  opts: pulumi.CustomResourceOptions,
): command.remote.Command {
  const { endpoint, region, accessKey, secretKey, names } = buckets;
  return new command.remote.Command(
    `${name}-buckets`,
    {
      connection,
      ...runScript("buckets/buckets.sh", {
        ...inside,
        endpoint,
        region,
        key: accessKey,
        key_secret: secretKey,
        buckets: names,
      }),
      triggers: [machineId],
      logging: command.remote.Logging.Stderr,
      addPreviousOutputInEnv: false,
    },
    {
      ...opts,
      hooks: { ...opts.hooks, beforeCreate: inPreview, beforeUpdate: inPreview },
      customTimeouts: { create: "5m", update: "5m" },
    },
  );
}
