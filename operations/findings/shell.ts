import { quote } from "../../contract/scripts.ts";

/** A command of the shell. Each value becomes one word, whatever is in it: names are other people's choice. */
export function shell(texts: TemplateStringsArray, ...values: (string | number)[]): string {
  return String.raw({ raw: texts.raw }, ...values.map((value) => quote(value)));
}
