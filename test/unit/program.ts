import { readFileSync } from "node:fs";

import * as pulumi from "@pulumi/pulumi";
import type { MockCallArgs, MockResourceArgs } from "@pulumi/pulumi/runtime/mocks.js";
import { parse } from "yaml";

import { loadSettings } from "../../settings/load.ts";

/** A resource as the engine would receive it. */
export type Registered = MockResourceArgs;

/** The options that the engine received for a resource, without the defaults. */
export type Options = Record<string, unknown>;

/** The options of all resources since the engine was mocked, by logical name and the type's last part: `convex Host`. */
export const options = new Map<string, Options>();

/** What runs before they are created, by the same names. */
export const beforeCreate = new Map<string, string[]>();

/** The logical names of what has to be there before them, by the same names. */
export const dependencies = new Map<string, string[]>();

/** The names of the components' outputs, by the last part of the component's type. */
export const componentOutputs = new Map<string, string[]>();

/** The defaults of Pulumi.yaml, as the engine passes them to a program: everything except strings as JSON. */
function defaults(): Record<string, string> {
  const { config } = parse(readFileSync("Pulumi.yaml", "utf8")) as { config: Record<string, { default: unknown }> };
  return Object.fromEntries(
    Object.entries(config).map(([key, { default: value }]) => [
      `convex-droplet:${key}`,
      typeof value === "string" ? value : JSON.stringify(value),
    ]),
  );
}

/** Sets the stack's configuration: the project's defaults, with overrides. The value undefined removes a key. */
export function configure(overrides: Record<string, unknown> = {}): void {
  const all: Record<string, unknown> = { "digitalocean:token": "dop_v1_test", ...defaults() };
  for (const [key, value] of Object.entries(overrides)) all[key.includes(":") ? key : `convex-droplet:${key}`] = value;
  const entries = Object.entries(all).filter(([, value]) => value !== undefined);
  pulumi.runtime.setAllConfig(
    Object.fromEntries(entries.map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)])),
  );
}

/** The mistakes that `loadSettings` finds in a configuration, one line each. */
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
 * Replaces the engine: every resource gets the outputs of `state`, and is recorded with its inputs. Without `call`, an invoke is
 * an error.
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
    "organization",
  );
  // The SDK's mock engine does not support hooks. They would not run under mocks.
  observe();
  const register = (_request: unknown, done: (error: null, response: object) => void) => {
    done(null, {});
  };
  Object.assign(pulumi.runtime.getMonitor() ?? {}, { registerErrorHook: register, registerResourceHook: register });
  return registered;
}

/** A request of the engine's protocol: the parts that are used here. */
interface Request {
  toObject: () => Record<string, unknown>;
  getUrn?: () => string;
  getOutputs?: () => { getFieldsMap: () => { keys: () => Iterable<string> } };
}
type Call = (request: Request, done: unknown) => unknown;

/** Records what mocks do not receive. */
function observe(): void {
  options.clear();
  beforeCreate.clear();
  dependencies.clear();
  componentOutputs.clear();
  const monitor = pulumi.runtime.getMonitor() as unknown as { registerResource: Call; registerResourceOutputs: Call };
  const { registerResource, registerResourceOutputs } = monitor;
  const last = (type = "") => type.split("$").at(-1)?.split(":").at(-1) ?? "";
  monitor.registerResource = (request, done) => {
    const told = request.toObject();
    const kept = Object.entries(told).filter(([key, value]) => KEPT.has(key) && !isDefault(value));
    const type = last(String(told["type"]));
    // By type, because all components may have the same name.
    const parent = last(String(told["parent"]).split("::")[2]);
    const name = `${String(told["name"])} ${type}`;
    beforeCreate.set(name, (told["hooks"] as { beforeCreateList?: string[] } | undefined)?.beforeCreateList ?? []);
    dependencies.set(
      name,
      (told["dependenciesList"] as string[]).map((urn) => urn.slice(urn.lastIndexOf("::") + 2)),
    );
    options.set(name, {
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
  ["importid", "import"],
]);

function isDefault(value: unknown): boolean {
  return value === undefined || value === false || value === "" || (Array.isArray(value) && value.length === 0);
}

/** Replaces URNs by their last part, the name. */
function strip(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(strip);
  return typeof value === "string" && value.startsWith("urn:") ? value.split("::").at(-1) : value;
}

/** Waits for the value of an output. */
export function valueOf<T>(output: pulumi.Output<T>): Promise<T> {
  return new Promise((resolve) => {
    output.apply(resolve);
  });
}
