import { type Check, type Fault, integerFault, nearestOf, quoted, type Reader } from "../reader.ts";
import { onThisStack } from "../on-this-stack.ts";

/** The options of one entry of a map, such as an app. Reading one collects its mistakes; an absent one is its default. */
export class Options {
  readonly #read: Reader;
  readonly #given: Record<string, unknown>;
  /** The entry's path. */
  readonly path: string;
  /** Otherwise that is its mistake, and nothing is missing in it. */
  readonly isMap: boolean;

  /**
   * @param known  the options that an entry may have
   * @param what   what the entry is, for messages: `an app`
   */
  constructor(read: Reader, path: string, value: unknown, known: readonly string[], what: string) {
    this.#read = read;
    this.path = path;
    // In YAML, a name without options has no value.
    this.#given = isMap(value) ? value : {};
    this.isMap = isMap(value ?? {});
    if (!this.isMap) {
      read.refuse(path, {
        sentence: `is not a map, it should map the options of ${what} to their values.`,
        fix: `Remove it with: ${onThisStack("config rm", `--path ${quoted(path)}`)}, and set each with: ${onThisStack("config set", `--path ${quoted(`${path}.OPTION`)} VALUE`)}`,
      });
    }
    for (const option of Object.keys(this.#given).filter((name) => !known.includes(name))) {
      read.refuse(this.at(option), {
        sentence: `is not an option of ${what}, it should be one; the nearest is ${nearestOf(option, known) ?? ""}.`,
        fix: `Rename it, or remove it with: ${onThisStack("config rm", `--path ${quoted(this.at(option))}`)}`,
      });
    }
  }

  /** The path of an option. */
  at(option: string): string {
    return `${this.path}.${option}`;
  }

  refuse(option: string, fault: Fault | undefined): void {
    this.#read.refuse(this.at(option), fault);
  }

  has(option: string): boolean {
    return this.#given[option] !== undefined && this.#given[option] !== null;
  }

  /** Any value; undefined if it is absent. */
  value(option: string): unknown {
    return this.has(option) ? this.#given[option] : undefined;
  }

  /** A text; undefined if it is absent. */
  text(option: string, check: Check): string | undefined {
    if (!this.has(option)) return undefined;
    const text = textOf(this.#given[option]);
    this.refuse(option, check(text, this.at(option)) ?? this.#notText(option, this.#given[option]));
    return text;
  }

  /** A whole number; undefined if it is absent. */
  integer(option: string, min: number, max: number): number | undefined {
    const text = this.text(option, (found) => integerFault(found, min, max));
    return text === undefined ? undefined : Number(text);
  }

  /** True or false; false if it is absent. */
  flag(option: string): boolean {
    const text = this.text(option, (found) =>
      found === "true" || found === "false"
        ? undefined
        : { sentence: `"${found}" is not a boolean, it should be true or false.`, value: "false" },
    );
    return text === "true";
  }

  /** A list of texts; empty if it is absent. */
  list(option: string, check: Check, should: string): string[] {
    const value = this.#given[option] ?? [];
    if (!Array.isArray(value)) {
      this.refuse(option, {
        sentence: `is not a list, it should be a list of ${should}.`,
        fix: `Remove it with: ${onThisStack("config rm", `--path ${quoted(this.at(option))}`)}, and set each with: ${onThisStack("config set", `--path ${quoted(`${this.at(option)}[0]`)} VALUE`)}`,
      });
      return [];
    }
    const items = value.map(textOf);
    items.forEach((item, index) => {
      const place = `${option}[${index}]`;
      this.refuse(place, check(item, this.at(place)) ?? this.#notText(place, value[index]));
    });
    return items;
  }

  /** A map; empty if it is absent. */
  map(option: string, should: string): Record<string, unknown> {
    const value = this.#given[option] ?? {};
    if (isMap(value)) return value;
    this.refuse(option, {
      sentence: `is not a map, it should map ${should}.`,
      fix: `Remove it with: ${onThisStack("config rm", `--path ${quoted(this.at(option))}`)}, and set each with: ${onThisStack("config set", `--path ${quoted(`${this.at(option)}.NAME`)} VALUE`)}`,
    });
    return {};
  }

  /** What is wrong with a value that is no single text, for options that any text is right for. */
  #notText(option: string, value: unknown): Fault | undefined {
    if (typeof value !== "object") return undefined;
    const is = value === null ? "nothing" : Array.isArray(value) ? "a list" : "a map";
    return {
      sentence: `is ${is}, it should be one text.`,
      fix: `Remove it with: ${onThisStack("config rm", `--path ${quoted(this.at(option))}`)}, and set it with: ${onThisStack("config set", `--path ${quoted(this.at(option))} VALUE`)}`,
    };
  }
}

/**
 * The entries of a map of names to options, sorted by name, so that their order in the configuration makes no difference.
 *
 * @param holds  as for `Reader.json`
 */
export function entriesOf(
  read: Reader,
  key: string,
  should: string,
  example: string,
  holds: Parameters<Reader["json"]>[1] = "texts",
): [string, unknown][] {
  const value = read.json(key, holds);
  if (isMap(value)) return Object.entries(value).toSorted(([one], [other]) => (one < other ? -1 : 1));
  read.refuse(key, {
    sentence: `is not a map, it should map ${should}.`,
    fix: `Remove it with: ${onThisStack("config rm", key)}, and set each option with: ${onThisStack("config set", `--path ${example}`)}`,
  });
  return [];
}

/** Numbers and booleans as they are typed; lists and maps as JSON, for messages. */
export function textOf(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
