import { readFileSync } from "node:fs";

import * as pulumi from "@pulumi/pulumi";
import type { MockCallArgs, MockResourceArgs } from "@pulumi/pulumi/runtime/mocks.js";
import { parse } from "yaml";

import { loadSettings } from "../../settings/load.ts";

/** One resource as the engine would have been asked for it. */
export type Registered = MockResourceArgs;

/** What the engine was told of a resource's place and lifetime; only what is not the default. */
export type Options = Record<string, unknown>;

/** By logical name and type's last part: `convex Host`, of all that was registered since the engine was mocked. */
export const options = new Map<string, Options>();

/** What components have told the engine to be their outputs, by the component's type's last part. */
export const componentOutputs = new Map<string, string[]>();

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
  observe();
  const register = (_request: unknown, done: (error: null, response: object) => void) => {
    done(null, {});
  };
  Object.assign(pulumi.runtime.getMonitor() ?? {}, { registerErrorHook: register, registerResourceHook: register });
  return registered;
}

/** A request of the engine's protocol, as far as it is looked at. */
interface Request {
  toObject: () => Record<string, unknown>;
  getUrn?: () => string;
  getOutputs?: () => { getFieldsMap: () => { keys: () => Iterable<string> } };
}
type Call = (request: Request, done: unknown) => unknown;

/** Listens to what mocks are not handed. */
function observe(): void {
  options.clear();
  componentOutputs.clear();
  const monitor = pulumi.runtime.getMonitor() as unknown as { registerResource: Call; registerResourceOutputs: Call };
  const { registerResource, registerResourceOutputs } = monitor;
  const last = (type = "") => type.split("$").at(-1)?.split(":").at(-1) ?? "";
  monitor.registerResource = (request, done) => {
    const told = request.toObject();
    const kept = Object.entries(told).filter(([key, value]) => KEPT.has(key) && !isDefault(value));
    const type = last(String(told["type"]));
    // By its type: components may all have one name.
    const parent = last(String(told["parent"]).split("::")[2]);
    options.set(`${String(told["name"])} ${type}`, {
      ...(parent === "Stack" || parent === "" ? {} : { parent }),
      ...Object.fromEntries(kept.map(([key, value]): [string, unknown] => [KEPT.get(key) ?? key, strip(value)])),
    });
    return registerResource.call(monitor, request, done);
  };
  monitor.registerResourceOutputs = (request, done) => {
    const names = [...(request.getOutputs?.().getFieldsMap().keys() ?? [])];
    componentOutputs.set(last(String(request.getUrn?.()).split("::")[2]), names.sort());
    return registerResourceOutputs.call(monitor, request, done);
  };
}

const KEPT = new Map([
  ["aliasesList", "aliases"],
  ["protect", "protect"],
  ["retainondelete", "retainOnDelete"],
  ["deletebeforereplace", "deleteBeforeReplace"],
  ["deletedwith", "deletedWith"],
  ["replaceWithList", "replaceWith"],
  ["ignorechangesList", "ignoreChanges"],
  ["replaceonchangesList", "replaceOnChanges"],
]);

function isDefault(value: unknown): boolean {
  return value === undefined || value === false || value === "" || (Array.isArray(value) && value.length === 0);
}

/** URNs become what is behind their last colons: the name. */
function strip(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(strip);
  return typeof value === "string" && value.startsWith("urn:") ? value.split("::").at(-1) : value;
}

/** The value of an output; waits for it. */
export function valueOf<T>(output: pulumi.Output<T>): Promise<T> {
  return new Promise((resolve) => {
    output.apply(resolve);
  });
}
