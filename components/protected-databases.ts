import * as pulumi from "@pulumi/pulumi";

import { valueOf } from "../contract/value-of.ts";
import { itemsIn } from "../contract/scripts.ts";
import { onThisStack } from "../settings/on-this-stack.ts";

/** What the server's script was given, and what is to happen to it. */
interface Wanted {
  databases: { name: string }[];
  protectData: boolean;
}

/**
 * For the `beforeUpdate` of the server's script. Refuses, also in a preview, to remove a protected database. The engine would refuse to
 * delete it only after the script has closed it to its app.
 */
export function refuseRemoval(name: string, { databases, protectData }: Wanted): pulumi.ResourceHook {
  const refuse = async ({ oldInputs }: pulumi.ResourceHookArgs) => {
    const former = (await valueOf((oldInputs as { stdin?: pulumi.Input<string> }).stdin)) ?? "";
    const gone = itemsIn(former, "databases")
      .map((line) => line.split(" ")[0] ?? "")
      .filter((database) => database !== "" && !databases.some((wanted) => wanted.name === database));
    if (protectData && gone.length > 0) throw new Error(gone.map(refusal).join("\n"));
  };
  return new pulumi.ResourceHook(`${name}-removed-databases`, refuse, { onDryRun: true });
}

function refusal(database: string): string {
  return (
    `convex-droplet:databases.${database}: is not there any more, but its data is protected, so it should be. Nothing was changed. ` +
    `Set it again, with the options that it had. If its data may go, then run ${onThisStack("config set", "protectData false")} && ${onThisStack("up")}, ` +
    `before you remove it with: ${onThisStack("config rm", `--path databases.${database}`)}`
  );
}
