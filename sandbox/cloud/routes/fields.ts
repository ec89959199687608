import { unprocessable } from "../errors.ts";

/**
 * Reads a request's body field by field. If a field has another type than expected, or a required one is absent, the
 * answer is a 422 that names it. `null` means absent, because Go clients send it for fields without a value.
 */
export class Fields {
  readonly #values: Partial<Record<string, unknown>>;
  readonly #path: string;

  constructor(body: unknown, path = "") {
    if (typeof body !== "object" || body === null || Array.isArray(body)) {
      throw unprocessable(`${path || "The request body"}: not a JSON object.`);
    }
    this.#values = body;
    this.#path = path;
  }

  text(name: string): string {
    return this.#required(name, this.optionalText(name));
  }

  optionalText(name: string): string | undefined {
    const value = this.#values[name] ?? undefined;
    if (value === undefined || typeof value === "string") return value;
    throw this.#wrong(name, "a string");
  }

  integer(name: string): number {
    return this.#required(name, this.optionalInteger(name));
  }

  /** Also accepts a string of digits, as the API does. */
  optionalInteger(name: string): number | undefined {
    const value = this.#values[name] ?? undefined;
    if (value === undefined) return undefined;
    const number = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value;
    if (typeof number === "number" && Number.isSafeInteger(number)) return number;
    throw this.#wrong(name, "an integer");
  }

  optionalFlag(name: string): boolean | undefined {
    const value = this.#values[name] ?? undefined;
    if (value === undefined || typeof value === "boolean") return value;
    throw this.#wrong(name, "true or false");
  }

  /** A string or an integer, as text. */
  identifier(name: string): string {
    const value = this.#values[name];
    if (typeof value === "string" || (typeof value === "number" && Number.isSafeInteger(value))) return String(value);
    throw this.#wrong(name, "a string or an integer");
  }

  /** A list of strings or integers; empty if absent. */
  scalars(name: string): (string | number)[] {
    return this.#list(name).map((item) => {
      if (typeof item === "string" || (typeof item === "number" && Number.isSafeInteger(item))) return item;
      throw this.#wrong(name, "a list of strings or integers");
    });
  }

  /** A list of strings; empty if absent. */
  texts(name: string): string[] {
    return this.#list(name).map((item) => {
      if (typeof item === "string") return item;
      throw this.#wrong(name, "a list of strings");
    });
  }

  integers(name: string): number[] {
    return this.scalars(name).map((item) => {
      if (Number.isSafeInteger(Number(item))) return Number(item);
      throw this.#wrong(name, "a list of integers");
    });
  }

  /** A list of strings or objects, as the API accepts a droplet's volumes. */
  identifiersOrObjects(name: string): (string | Fields)[] {
    return this.#list(name).map((item, index) =>
      typeof item === "string" ? item : new Fields(item, `${this.#path}${name}[${index}].`),
    );
  }

  object(name: string): Fields | undefined {
    const value = this.#values[name] ?? undefined;
    return value === undefined ? undefined : new Fields(value, `${this.#path}${name}.`);
  }

  objects(name: string): Fields[] {
    return this.#list(name).map((item, index) => new Fields(item, `${this.#path}${name}[${index}].`));
  }

  /** Refuses a body without any of these fields. */
  needing(...names: string[]): this {
    if (!names.some((name) => this.has(name))) throw this.#wrong(names.join(" or "), "present");
    return this;
  }

  has(name: string): boolean {
    return (this.#values[name] ?? undefined) !== undefined;
  }

  #list(name: string): unknown[] {
    const value = this.#values[name] ?? [];
    if (Array.isArray(value)) return value;
    throw this.#wrong(name, "a list");
  }

  #required<T>(name: string, value: T | undefined): T {
    if (value === undefined) throw this.#wrong(name, "present");
    return value;
  }

  #wrong(name: string, expected: string) {
    return unprocessable(`${this.#path}${name} must be ${expected}.`);
  }
}
