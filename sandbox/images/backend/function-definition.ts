import type { Deployment } from "./deployment.ts";
import type { Json } from "./persistence.ts";

export type FunctionType = "query" | "mutation" | "action";

export type Args = Record<string, Json>;

export interface FunctionDefinition {
  type: FunctionType;
  /** Internal functions run only for an admin key. */
  visibility: "public" | "internal";
  run: (deployment: Deployment, args: Args) => Promise<Json>;
}

/** A fault in what the caller gave the function. */
export class FunctionError extends Error {}

export function text(args: Args, name: string): string {
  const value = args[name];
  if (typeof value !== "string") throw new FunctionError(`ArgumentValidationError: "${name}" must be a string`);
  return value;
}
