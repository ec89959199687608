import * as pulumi from "@pulumi/pulumi";

import { pulumiCommand } from "../contract/commands.ts";

/** A command of Pulumi on the stack of this program. Without its name, it would change the one that is selected, which may be another. */
export function onThisStack(verb: string, ...rest: string[]): string {
  return pulumiCommand(pulumi.getStack(), verb, ...rest);
}
