import type { Archive, Asset, PropertyBag, Value } from "./values.ts";

/**
 * One stand-in plugin: tables with the declarations of the official plugin, and functions for its work. The framework
 * derives the rest of the provider protocol from the tables.
 */
export interface Plugin<Client> {
  /** The package's name, `digitalocean`; its version is that of the npm package `@pulumi/<name>`. */
  name: string;
  /**
   * Whose semantics it has. `bridged` plugins wrap a Terraform provider: defaults are listed in `__defaults`, a diff
   * compares with the state. `framework` plugins wrap a newer kind of Terraform provider: defaults are only in the state,
   * a diff names whole properties. `native` plugins wrap none: a diff compares old inputs with new ones.
   */
  kind: "bridged" | "framework" | "native";
  /** The provider's settings; their values arrive as JSON texts, and `configure` gets them parsed. */
  config: Properties;
  /**
   * Makes the client for resources and functions. `given` are the settings without defaults. It connects only if the
   * official plugin does. If it fails, the provider fails.
   */
  configure: (config: PropertyBag, given: PropertyBag) => Client | Promise<Client>;
  /** By type token, `random:index/randomPassword:RandomPassword`. */
  resources: Record<string, Resource<Client>>;
  /** By token, `digitalocean:index/getSizes:getSizes`. */
  functions?: Record<string, Invokable<Client>>;
}

/** The values that a property may have. */
export type Shape =
  | { type: "string"; values?: readonly string[] }
  | { type: "number" | "integer" | "boolean" | "any" | "asset" }
  /** A set is a list whose order does not matter. */
  | { type: "list" | "set"; items: Shape }
  | { type: "map"; items: Shape }
  | { type: "object"; properties: Properties }
  /** The stand-in lacks this property of the official plugin: refused as an input, absent as an output. */
  | { type: "unsupported" };

export type Property = Shape & {
  required?: true;
  /** The value if the property is absent. */
  default?: string | number | boolean;
  /** Environment variables with the default; the first that is not empty counts (only for provider settings). */
  env?: readonly string[];
  /** Encrypted in the state, as input and as output. */
  secret?: true;
  /** A change replaces the resource. */
  replaces?: true;
  /** The cloud fills it in if it is absent, so an absent input is never a difference (bridged plugins). */
  computed?: true;
  /** Bridged auto-naming: if it is absent, it becomes `<logical name>-` and seven hexadecimal digits. */
  autoname?: { maxLength: number; lowerCase?: true };
  /** The state has it in another form, so a refresh does not change the input. */
  rewritten?: true;
  /** An output that updates may change, so it is unknown in the preview of an update. */
  changesOnUpdate?: true;
  /** Whether a value of the state and a different new input mean the same; never called with unknowns. */
  same?: (state: Value, input: Value) => boolean;
};

export type Properties = Readonly<Record<string, Property>>;

/** The TypeScript type of a value of a shape. */
export type ValueOf<S> = [Shape] extends [S]
  ? Value // any shape; without this case, the types of nested shapes would be infinite
  : S extends { type: "string"; values: readonly (infer V)[] }
    ? V
    : S extends { type: "string" }
      ? string
      : S extends { type: "number" | "integer" }
        ? number
        : S extends { type: "boolean" }
          ? boolean
          : S extends { type: "asset" }
            ? Asset | Archive
            : S extends { type: "list" | "set"; items: infer I }
              ? ValueOf<I>[]
              : S extends { type: "map"; items: infer I }
                ? Record<string, ValueOf<I>>
                : S extends { type: "object"; properties: infer P }
                  ? ValuesOf<P>
                  : S extends { type: "unsupported" }
                    ? undefined
                    : Value;

type Certain = { required: true } | { default: unknown } | { autoname: unknown };

/** The TypeScript type of a table's values: properties that are required or have a default are present, others may be absent. */
export type ValuesOf<P> = { [K in keyof P as P[K] extends Certain ? K : never]: ValueOf<P[K]> } & {
  [K in keyof P as P[K] extends Certain ? never : K]?: ValueOf<P[K]> | undefined;
};

/** The outputs of a create or read; may also contain inputs, with their real values. */
export type StateOf<I, O> = Partial<ValuesOf<I>> & { [K in keyof O]?: ValueOf<O[K]> | undefined };

/** What a resource function may use in addition to its arguments. */
export interface Context<Client> {
  client: Client;
  urn: string;
  /** The logical name in the program. */
  name: string;
  /**
   * Aborts when the time is up or the engine dies, and in a native plugin when the user cancels. It must end exactly the
   * work that the official plugin's context ends; much of the official code ignores its context.
   */
  signal: AbortSignal;
  /** The limit for this operation: the user's `customTimeouts`, or the type's. */
  timeoutSeconds: number | undefined;
  /** Shows a line on the resource. The next line replaces a `status` line. */
  log: (severity: LogSeverity, message: string, options?: { status?: boolean }) => void;
}

export type LogSeverity = "debug" | "info" | "warning" | "error";

/** A resource as the state has it. */
export interface Existing<Inputs = PropertyBag, State = PropertyBag> {
  id: string;
  state: State;
  /** The inputs of the last operation, with defaults. */
  inputs: Inputs;
}

export interface Failure {
  /** Path of the property. */
  property: string;
  reason: string;
}

/** One difference between the resource and the program. */
export interface Change {
  /** `ports[0].internal` */
  path: string;
  kind: "add" | "delete" | "update";
  replaces: boolean;
}

/**
 * A resource type. Its state is its inputs and outputs together. Functions get values without secret marks; a preview
 * calls only `check` and `diff`. Defined with `resource`, which derives `Inputs` and `State` from the tables.
 */
export interface Resource<Client, Inputs = PropertyBag, State = PropertyBag> {
  inputs: Properties;
  outputs: Properties;
  /** Every replacement deletes first, whatever the name. */
  deleteBeforeReplace?: true;
  /** The limits in seconds of the operations that `customTimeouts` may change (bridged plugins); other operations ignore it. */
  timeouts?: Partial<Record<"create" | "update" | "delete", number>>;
  /** If an update fails, the state keeps the old values, not the planned ones (bridged plugins). */
  partialUpdates?: true;
  /** Rules in addition to the table, checked only if the table finds no failure. Values may be UNKNOWN. */
  check?: (inputs: PropertyBag) => Failure[];
  /** Throws if checked inputs cannot be planned. Called by every diff, create and update, also in a preview. */
  plan?: (news: PropertyBag) => void;
  /** Adds, changes or removes differences that the tables found. Values may be UNKNOWN. */
  diff?: (changes: Change[], olds: PropertyBag, news: PropertyBag) => Change[];
  /** If it fails after the id is known, it throws an `InitError`: the resource stays in the state. */
  create: (context: Context<Client>, inputs: Inputs) => Promise<{ id: string; outputs: State }>;
  /**
   * Returns the live values, or undefined if the resource is gone. Values that are absent stay as in the state; an
   * undefined one is removed. If the official plugin cannot read, this function is absent, and a refresh finds no
   * difference.
   */
  read?: (context: Context<Client>, existing: Existing<Inputs, State>) => Promise<State | undefined>;
  /** Absent if no input can change in place. `changed` has top-level names. Outputs that are absent stay as they were. */
  update?: (
    context: Context<Client>,
    existing: Existing<Inputs, State>,
    inputs: Inputs,
    changed: ReadonlySet<string>,
  ) => Promise<State>;
  /** Absent if there is nothing to delete. If the resource is already gone, it fails only if the official plugin does. */
  delete?: (context: Context<Client>, existing: Existing<Inputs, State>) => Promise<void>;
}

/** A function (data source) that programs call. Defined with `invokable`. */
export interface Invokable<Client, Inputs = PropertyBag> {
  inputs: Properties;
  call: (context: Context<Client>, inputs: Inputs) => Promise<Readonly<Record<string, unknown>>>;
}

/** Defines a resource type: `resource<Client>()({ inputs: {…}, outputs: {…}, create… })`. */
export function resource<Client>() {
  return <const I extends Properties, const O extends Properties>(
    definition: Resource<Client, ValuesOf<I>, StateOf<I, O>> & { inputs: I; outputs: O },
  ) =>
    // Functions are called with values that were checked against these tables, so their types are not needed here.
    definition as unknown as Resource<Client>;
}

/** Defines a function: `invokable<Client>()({ inputs: {…}, call })`. */
export function invokable<Client>() {
  return <const I extends Properties>(definition: Invokable<Client, ValuesOf<I>> & { inputs: I }) =>
    definition as unknown as Invokable<Client>;
}

/** Properties that the official type has and the stand-in does not implement. */
export function unsupported<const Name extends string>(...names: Name[]): Record<Name, { type: "unsupported" }> {
  return Object.fromEntries(names.map((name) => [name, { type: "unsupported" }])) as Record<
    Name,
    { type: "unsupported" }
  >;
}
