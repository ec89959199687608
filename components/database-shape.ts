import * as pulumi from "@pulumi/pulumi";

import { ID } from "../contract/names.ts";
import { valueIn } from "../contract/scripts.ts";
import { valueOf } from "../contract/value-of.ts";
import { onThisStack } from "../settings/on-this-stack.ts";
import type { Shape } from "../settings/postgres.ts";
import { formerStdin } from "./former-stdin.ts";

/**
 * For the `beforeUpdate` of the machine's set-up, which both shapes have, and for the `beforeCreate` of what only one of them has and is made
 * before the set-up. Refuses, also in a preview, to run the database of a deployed stack elsewhere: the other place has none of its rows.
 */
export function refuseOtherShape(name: string, database: Shape): pulumi.ResourceHook {
  const refuse = async ({ oldInputs }: pulumi.ResourceHookArgs) => {
    const former =
      oldInputs === undefined
        ? await formerStdin(`${ID}-setup`)
        : ((await valueOf((oldInputs as { stdin?: pulumi.Input<string> }).stdin)) ?? "");
    if (former === undefined) return;
    // An earlier release knew only one shape.
    const deployed = valueIn(former, "database") || "droplet";
    if (deployed === database) return;
    throw new Error(
      `convex-droplet:database: is ${database}, but this stack was deployed with ${deployed}, where its data is, it should stay so: up does not move data. Nothing was changed. ` +
        `Set it back with: ${onThisStack("config set", `database ${deployed}`)}. To move by hand, make a new stack with the other one, and copy the app's data with ` +
        "npx convex export and npx convex import; see docs/managed-database.md",
    );
  };
  return new pulumi.ResourceHook(`${name}-database-shape`, refuse, { onDryRun: true });
}
