import * as pulumi from "@pulumi/pulumi";

import { valueOf } from "../contract/value-of.ts";

let resources: Promise<Record<string, { outputs: { stdin?: string } }>> | undefined;

/**
 * The stdin that had the backend's variables in the run before, for a hook of the resource that has them. For a hook that runs before
 * something is created, it comes from the stack's state, if a backend was accepted with it.
 *
 * @returns undefined if there was no backend
 */
export async function formerVariables(
  name: string,
  oldInputs: pulumi.ResourceHookArgs["oldInputs"],
): Promise<string | undefined> {
  if (oldInputs !== undefined) return (await valueOf((oldInputs as { stdin?: pulumi.Input<string> }).stdin)) ?? "";
  return (await formerStdin(`${name}-acceptance`)) === undefined ? undefined : formerStdin(`${name}-rehearsal`);
}

/**
 * What a script of `machine/` was given by an earlier run, by the logical name of its resource, from the stack's state; undefined if the
 * state has no such resource. For hooks that run before something is created: they get no old inputs, whatever else the stack already has.
 */
export async function formerStdin(name: string): Promise<string | undefined> {
  const stackName = [pulumi.getOrganization(), pulumi.getProject(), pulumi.getStack()].join("/");
  resources ??= pulumi.runtime
    .invoke("pulumi:pulumi:readStackResourceOutputs", { stackName })
    .then(({ outputs }: { outputs: Awaited<NonNullable<typeof resources>> }) => outputs)
    // Later in the run, the old inputs of what is updated show the same.
    .catch(() => ({}));
  const found = Object.entries(await resources).find(([urn]) => urn.endsWith(`::${name}`));
  return found === undefined ? undefined : (found[1].outputs.stdin ?? "");
}
