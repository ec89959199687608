import * as pulumi from "@pulumi/pulumi";
import type { ResourceValidationArgs } from "@pulumi/policy";

import { pulumiCommand } from "../contract/commands.ts";

/** The stack that a resource belongs to: `urn:pulumi:STACK::…`. */
export function stackOf({ urn }: { urn: string }): string {
  return urn.split("::")[0]?.split(":").at(-1) ?? "";
}

/** Whether a stack is for production: its name is `prod` or `production`, or has one of them as a part, such as `prod-eu`. */
export function isProduction(resource: { urn: string }): boolean {
  return stackOf(resource)
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .some((part) => part === "prod" || part === "production");
}

/** A command of Pulumi on the resource's stack, for a message. */
export function onStack(resource: { urn: string }, verb: string, ...rest: string[]): string {
  return pulumiCommand(stackOf(resource), verb, ...rest);
}

/**
 * A resource's inputs. The ones that `@pulumi/policy` gives throw an error at a value that a preview does not know yet; then a rule would be
 * skipped with a warning, also for what is known. Values that are not known are undefined here.
 *
 * @returns the inputs; in `remediateResource`, secrets are in a `Secret`, otherwise they are bare
 */
export function inputsOf({ props }: Pick<ResourceValidationArgs, "props">): Record<string, unknown> {
  // Descriptors are those of the object behind the proxy.
  const descriptors = Object.entries(Object.getOwnPropertyDescriptors(props)) as [string, PropertyDescriptor][];
  return Object.fromEntries(
    descriptors.map(([key, { value }]) => [key, isKnown(value) ? (value as unknown) : undefined]),
  );
}

/** Whether a preview knows a value. */
export function isKnown(value: unknown): boolean {
  return value !== pulumi.runtime.unknownValue;
}

/** An input that is a list of objects; empty if it is absent or not known. */
export function listIn<Item>(inputs: Record<string, unknown>, key: string): Partial<Item>[] {
  const list = inputs[key];
  return Array.isArray(list) ? (list as Partial<Item>[]) : [];
}
