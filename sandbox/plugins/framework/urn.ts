/** The type token of `urn:pulumi:<stack>::<project>::<parent types>$<type>::<name>`. */
export function typeOf(urn: string): string {
  return urn.split("::")[2]?.split("$").at(-1) ?? "";
}

/** The logical name, which may contain `::` itself. */
export function nameOf(urn: string): string {
  return urn.split("::").slice(3).join("::");
}
