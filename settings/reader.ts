import * as pulumi from "@pulumi/pulumi";
import { onThisStack } from "./on-this-stack.ts";

/** What is wrong with a value, and what is right: one line of the message, without the path. */
export type Fault = {
  /** `<what it is>, <what it should be>.` */
  sentence: string;
} & (
  | {
      /** A value that passes all checks, also those with other settings. */
      value: string;
    }
  | {
      /** How to fix it, if no single value does. */
      fix: string;
    }
);

/** Returns what is wrong with the text at a path; undefined if nothing is. */
export type Check = (text: string, path: string) => Fault | undefined;

/** Reads one key at a time. It collects the mistakes instead of throwing, so that one message can list all of them. */
export class Reader {
  readonly mistakes: string[] = [];
  readonly #config = new pulumi.Config();
  readonly #known = new Set<string>();
  /** The keys of lists and maps, and whether somebody's own texts are in them. */
  readonly #nested = new Map<string, "texts" | "config">();

  /** A value as the engine passes it: text unchanged, everything else as JSON. */
  raw(key: string): string {
    this.#known.add(key);
    return this.#config.get(key) ?? "";
  }

  /**
   * The value of a JSON text; undefined if it is not JSON.
   *
   * @param holds  `texts` if its values are somebody's own, which the engine must pass on as they were typed
   */
  json(key: string, holds: "texts" | "config" = "texts"): unknown {
    this.#nested.set(key, holds);
    try {
      return JSON.parse(this.raw(key));
    } catch {
      return undefined;
    }
  }

  text(key: string, check: Check): string {
    const text = this.raw(key);
    this.refuse(key, check(text, key));
    return text;
  }

  integer(key: string, min: number, max: number): number {
    const text = this.raw(key);
    this.refuse(key, integerFault(text, min, max));
    return Number(text);
  }

  flag(key: string): boolean {
    const text = this.raw(key);
    if (text !== "true" && text !== "false") {
      const value = /^(y|yes|on|t|true|1)$/i.test(text) ? "true" : "false";
      this.refuse(key, { sentence: `"${text}" is not a boolean, it should be true or false.`, value });
    }
    return text === "true";
  }

  /** One of some words; the first one if the text is another, so that no other check reports it again. */
  choice<Word extends string>(key: string, words: [Word, ...Word[]]): Word {
    const text = this.raw(key);
    const chosen = words.find((word) => word === text);
    if (chosen === undefined) {
      const nearest = nearestOf(text, words);
      this.refuse(key, {
        sentence: `"${text}" is not valid, it should be one of ${words.join(", ")}.`,
        value: nearest !== undefined && distance(text, nearest) <= 1 ? nearest : words[0],
      });
    }
    return chosen ?? words[0];
  }

  /** A list of texts; undefined if the value is not a list, so that no other check reports it again. */
  list(key: string, check: Check, should: string, fix: string): string[] | undefined {
    const value = this.json(key);
    if (!Array.isArray(value)) {
      this.refuse(key, { sentence: `is not a list, it should be a list of ${should}.`, fix });
      return undefined;
    }
    const items = value.map(String);
    items.forEach((item, index) => {
      const path = `${key}[${index}]`;
      this.refuse(path, check(item, path));
    });
    return items;
  }

  /** Adds the fault of the value at a path, if there is one, to the mistakes. */
  refuse(path: string, fault: Fault | undefined): void {
    if (fault === undefined) return;
    const fix = "fix" in fault ? fault.fix : setWith(path, fault.value);
    this.mistakes.push(`convex-droplet:${path}: ${fault.sentence} ${fix}`);
  }

  /** Refuses the keys that nobody has read, because the engine also passes misspelt ones. */
  refuseUnknown(): void {
    const prefix = `${this.#config.name}:`;
    for (const key of Object.keys(pulumi.runtime.allConfig())) {
      const name = key.slice(prefix.length);
      if (!key.startsWith(prefix) || this.#known.has(name)) continue;
      const parent = /^(\w+)[.[]/.exec(name)?.[1] ?? "";
      const holds = this.#nested.get(parent);
      this.refuse(name, holds ? misplacedKey(name, parent, holds) : unknownKey(name, [...this.#known]));
    }
  }
}

/** A check by pattern. It proposes the text in small letters, if that is right, and otherwise an example. */
export function matches(pattern: RegExp, should: string, value: string): (text: string) => Fault | undefined {
  return (text) => {
    if (pattern.test(text)) return undefined;
    const small = text.trim().toLowerCase();
    return {
      sentence: `"${text}" is not valid, it should be ${should}.`,
      value: small !== "" && pattern.test(small) ? small : value,
    };
  };
}

/** What is wrong with a text that should be a whole number in a range. Other spellings, such as 0x64, are refused. */
export function integerFault(text: string, min: number, max: number): Fault | undefined {
  if (!/^(0|-?[1-9]\d*)$/.test(text)) {
    return { sentence: `"${text}" is not a whole number, it should be one from ${min} to ${max}.`, value: String(min) };
  }
  if (Number(text) < min)
    return { sentence: `${text} is below ${min}, it should be from ${min} to ${max}.`, value: String(min) };
  return Number(text) > max
    ? { sentence: `${text} is above ${max}, it should be from ${min} to ${max}.`, value: String(max) }
    : undefined;
}

/** The command that sets a value, or a part of one. */
export function setWith(path: string, value: string): string {
  return `Set it with: ${onThisStack("config set", pathArgument(path), quoted(value))}`;
}

/** The file with the stack's configuration. */
export function stackFile(): string {
  return `Pulumi.${pulumi.getStack()}.yaml`;
}

function pathArgument(path: string): string {
  return /^\w+$/.test(path) ? path : `--path ${quoted(path)}`;
}

/** A word, quoted for a shell if necessary. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** The key that `pulumi config set` creates from a path without --path. */
function misplacedKey(name: string, parent: string, holds: "texts" | "config"): Fault {
  // Pulumi keeps a variable as it is typed only if it is a secret.
  const how = holds === "config" || /\[\d+\]$/.test(name) ? `${quoted(name)} VALUE` : `--secret ${quoted(name)}`;
  return {
    sentence: `is a separate key, it should be part of ${parent}.`,
    fix: `Remove it with: ${onThisStack("config rm", quoted(name))}, and set it with: ${onThisStack("config set", "--path", how)}`,
  };
}

function unknownKey(name: string, known: string[]): Fault {
  const nearest = nearestOf(name, known) ?? "";
  return {
    sentence: `is not a setting, it should be one; the nearest is ${nearest}.`,
    fix: `Rename it in ${stackFile()}, or remove it with: ${onThisStack("config rm", quoted(name))}`,
  };
}

/** The word that is most like a text. */
export function nearestOf<Word extends string>(text: string, words: readonly Word[]): Word | undefined {
  return words.toSorted((one, other) => distance(text, one) - distance(text, other))[0];
}

/**
 * The number of letters to change, add or remove to turn one word into another (Levenshtein), ignoring case. A word is nearest to
 * one that it is the start of.
 */
function distance(one: string, other: string): number {
  const [from, to] = [one.toLowerCase(), other.toLowerCase()];
  if (to.startsWith(from)) return 0;
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let line = 1; line <= from.length; line++) {
    const next = [line];
    for (let column = 1; column <= to.length; column++) {
      const changed = (row[column - 1] ?? 0) + (from[line - 1] === to[column - 1] ? 0 : 1);
      next.push(Math.min((row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1, changed));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
