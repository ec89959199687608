import type { Archive, Asset, PropertyBag, Value } from "./values.ts";

/**
 * One stand-in plugin: what the official plugin of the same name declares, as tables, and what it does, as functions.
 * The framework derives everything else of the provider protocol from the tables.
 */
export interface Plugin<Client> {
  /** The package's name, `digitalocean`; its version is that of the npm package `@pulumi/<name>`. */
  name: string;
  /**
   * Whose semantics to keep: `bridged` plugins wrap a Terraform provider (defaults are listed in `__defaults`, a diff
   * compares with the state); `framework` ones wrap one of Terraform's newer kind (defaults are in the state only, a diff
   * names properties and nothing inside them); `native` ones wrap none (a diff compares old inputs with new ones).
   */
  kind: "bridged" | "framework" | "native";
  /** The provider's own settings; their values arrive as JSON texts and reach `configure` parsed. */
  config: Properties;
  /**
   * Makes what resources and functions work with. `given` are the settings without defaults. It reaches out where the
   * official plugin does; when it fails, so does the provider.
   */
  configure: (config: PropertyBag, given: PropertyBag) => Client | Promise<Client>;
  /** By type token, `random:index/randomPassword:RandomPassword`. */
  resources: Record<string, Resource<Client>>;
  /** By token, `digitalocean:index/getSizes:getSizes`. */
  functions?: Record<string, Invokable<Client>>;
}

/** What a property may hold. */
export type Shape =
  | { type: "string"; values?: readonly string[] }
  | { type: "number" | "integer" | "boolean" | "any" | "asset" }
  /** A set is a list whose order does not matter. */
  | { type: "list" | "set"; items: Shape }
  | { type: "map"; items: Shape }
  | { type: "object"; properties: Properties }
  /** The official plugin has it, the stand-in does not: refused as an input, absent as an output. */
  | { type: "unsupported" };

export type Property = Shape & {
  required?: true;
  /** Applied when the property is absent. */
  default?: string | number | boolean;
  /** Environment variables that give the default, the first that is set and not empty (provider settings only). */
  env?: readonly string[];
  /** Encrypted in the state, as input and as output. */
  secret?: true;
  /** A change replaces the resource. */
  replaces?: true;
  /** The cloud fills it in when it is absent, so an absent input differs from no state (bridged plugins). */
  computed?: true;
  /** Bridged auto-naming: absent, it becomes `<logical name>-` and seven hexadecimal digits. */
  autoname?: { maxLength: number; lowerCase?: true };
  /** The state has it in another form, of its own: a refresh leaves the input as it was. */
  rewritten?: true;
  /** An output that an update may change: unknown in the preview of any update. */
  changesOnUpdate?: true;
  /** Whether a value of the state and a new input mean the same, beyond plain equality; never called with unknowns. */
  same?: (state: Value, input: Value) => boolean;
};

export type Properties = Readonly<Record<string, Property>>;

/** The TypeScript type of a value of a shape. */
export type ValueOf<S> = [Shape] extends [S]
  ? Value // any shape at all; without this case the types of nested shapes would never end
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

/** The TypeScript type of the values of a table: what is required or has a default is there, the rest may be absent. */
export type ValuesOf<P> = { [K in keyof P as P[K] extends Certain ? K : never]: ValueOf<P[K]> } & {
  [K in keyof P as P[K] extends Certain ? never : K]?: ValueOf<P[K]> | undefined;
};

/** The outputs a create or read gives; inputs are part of the state too, and may be given as they really are. */
export type StateOf<I, O> = Partial<ValuesOf<I>> & { [K in keyof O]?: ValueOf<O[K]> | undefined };

/** What a resource function may use besides its arguments. */
export interface Context<Client> {
  client: Client;
  urn: string;
  /** The logical name in the program. */
  name: string;
  /**
   * Fires when time is up, when the engine died, and for a native plugin when the user cancels. It must end what ends with
   * the context of the official plugin's code, and nothing else: much of that never looks at its context.
   */
  signal: AbortSignal;
  /** How long this operation may take: the user's `customTimeouts`, or what the type declares. */
  timeoutSeconds: number | undefined;
  /** Shows a line on the resource. `status` lines are replaced by the next one and leave no trace. */
  log: (severity: LogSeverity, message: string, options?: { status?: boolean }) => void;
}

export type LogSeverity = "debug" | "info" | "warning" | "error";

/** A resource as the state knows it. */
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

/** One difference between the resource and what the program wants. */
export interface Change {
  /** `ports[0].internal` */
  path: string;
  kind: "add" | "delete" | "update";
  replaces: boolean;
}

/**
 * A resource type. Its state is its inputs and outputs together. Functions get values without secret marks; none is called
 * in a preview but `check` and `diff`. Defined with `resource`, which derives `Inputs` and `State` from the tables.
 */
export interface Resource<Client, Inputs = PropertyBag, State = PropertyBag> {
  inputs: Properties;
  outputs: Properties;
  /** Every replacement deletes first, whatever the name. */
  deleteBeforeReplace?: true;
  /** Seconds of each operation that `customTimeouts` may change (bridged plugins); the others ignore these. */
  timeouts?: Partial<Record<"create" | "update" | "delete", number>>;
  /** An update that fails leaves the state as it was, not as it was to become (bridged plugins). */
  partialUpdates?: true;
  /** Rules beyond the table, asked only when the table is satisfied. Values may be UNKNOWN. */
  check?: (inputs: PropertyBag) => Failure[];
  /** Throws when inputs that a check let pass cannot be planned: by every diff, create and update, previewed or not. */
  plan?: (news: PropertyBag) => void;
  /** Adds, changes or drops differences that the tables found. Values may be UNKNOWN. */
  diff?: (changes: Change[], olds: PropertyBag, news: PropertyBag) => Change[];
  /** A failure after the id is known is an `InitError`: the resource stays in the state. */
  create: (context: Context<Client>, inputs: Inputs) => Promise<{ id: string; outputs: State }>;
  /**
   * The live values; those left out stay as the state has them, an undefined one is removed. Resolves with undefined when
   * the resource is gone. Absent where the official plugin cannot read either: a refresh then finds no difference.
   */
  read?: (context: Context<Client>, existing: Existing<Inputs, State>) => Promise<State | undefined>;
  /** Absent when no input can change in place. `changed` holds top-level names. Outputs left out stay as they were. */
  update?: (
    context: Context<Client>,
    existing: Existing<Inputs, State>,
    inputs: Inputs,
    changed: ReadonlySet<string>,
  ) => Promise<State>;
  /** Absent when there is nothing to delete. Whether it is an error when it is gone already is the official plugin's choice. */
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
    // Functions are called with values checked against these very tables, so their types may be forgotten here.
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
