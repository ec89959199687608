import { readFileSync } from "node:fs";

import * as pulumi from "@pulumi/pulumi";
import type { MockCallArgs, MockResourceArgs } from "@pulumi/pulumi/runtime/mocks.js";
import { parse } from "yaml";

import { loadSettings } from "../../settings.ts";

/** One resource as the engine would have been asked for it. */
export type Registered = MockResourceArgs;

/** The defaults of Pulumi.yaml, as the engine hands them to a program: everything that is no string as JSON. */
function defaults(): Record<string, string> {
  const { config } = parse(readFileSync("Pulumi.yaml", "utf8")) as { config: Record<string, { default: unknown }> };
  return Object.fromEntries(
    Object.entries(config).map(([key, { default: value }]) => [
      `convex-droplet:${key}`,
      typeof value === "string" ? value : JSON.stringify(value),
    ]),
  );
}

/** Sets the stack's configuration: the project's defaults, overlaid. A value of undefined removes a key. */
export function configure(overrides: Record<string, unknown> = {}): void {
  const all: Record<string, unknown> = { "digitalocean:token": "dop_v1_test", ...defaults() };
  for (const [key, value] of Object.entries(overrides)) all[key.includes(":") ? key : `convex-droplet:${key}`] = value;
  const entries = Object.entries(all).filter(([, value]) => value !== undefined);
  pulumi.runtime.setAllConfig(
    Object.fromEntries(entries.map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)])),
  );
}

/** What `loadSettings` says of a configuration, a line each; empty where it is as it should be. */
export function mistakesOf(overrides: Record<string, unknown>): string[] {
  configure(overrides);
  try {
    loadSettings();
  } catch (error) {
    if (!pulumi.RunError.isInstance(error)) throw error;
    return error.message
      .split("\n")
      .slice(1)
      .map((line) => line.trim());
  }
  return [];
}

/**
 * Answers for the engine: every resource gets the outputs of `state`, and is remembered with its inputs. An invoke that
 * nobody answers for is an error.
 */
export async function mockEngine(
  state: (args: MockResourceArgs) => Record<string, unknown> = () => ({}),
  call?: (args: MockCallArgs) => Record<string, unknown>,
): Promise<Registered[]> {
  const registered: Registered[] = [];
  await pulumi.runtime.setMocks(
    {
      newResource(args) {
        registered.push(args);
        return { id: `${args.name}-id`, state: { ...(args.inputs as object), ...state(args) } };
      },
      call(args) {
        if (call === undefined) throw new Error(`unexpected invoke of ${args.token}`);
        return call(args);
      },
    },
    "convex-droplet",
    "test",
    false,
  );
  // The SDK's mock engine knows no hooks; they do not run under mocks anyway.
  const register = (_request: unknown, done: (error: null, response: object) => void) => {
    done(null, {});
  };
  Object.assign(pulumi.runtime.getMonitor() ?? {}, { registerErrorHook: register, registerResourceHook: register });
  return registered;
}

/** The value of an output; waits for it. */
export function valueOf<T>(output: pulumi.Output<T>): Promise<T> {
  return new Promise((resolve) => {
    output.apply(resolve);
  });
}
