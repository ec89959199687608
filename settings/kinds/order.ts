import { onThisStack } from "../on-this-stack.ts";
import { quoted, type Reader } from "../reader.ts";

/** Something that may wait for others of its kind. */
interface Waiting {
  name: string;
  dependsOn: string[];
}

/**
 * The entries of a map in the order in which they start: as given, and each after those that it depends on. Refuses unknown names and
 * circles.
 *
 * @param key   the setting, such as `apps`
 * @param what  what one entry is, for messages: `an app`
 */
export function inOrder<Entry extends Waiting>(read: Reader, key: string, what: string, entries: Entry[]): Entry[] {
  const ordered: Entry[] = [];
  const visit = (entry: Entry, above: string[]): void => {
    if (ordered.includes(entry)) return;
    entry.dependsOn.forEach((name, index) => {
      const path = `${key}.${entry.name}.dependsOn[${index}]`;
      const other = entries.find((candidate) => candidate.name === name);
      const remove = `Remove it with: ${onThisStack("config rm", `--path ${quoted(path)}`)}`;
      if (other === undefined) {
        const names = entries.flatMap(({ name: known }) => (known === entry.name ? [] : [known])).join(", ");
        read.refuse(path, {
          sentence: `"${name}" is not ${what}, it should be one of the others: ${names || "there is none"}.`,
          fix: remove,
        });
      } else if (name === entry.name || above.includes(name)) {
        const circle = [...above.slice(above.indexOf(name) < 0 ? above.length : above.indexOf(name)), entry.name, name];
        read.refuse(path, {
          sentence: `"${name}" closes a circle (${circle.join(" → ")}), none of them could start first, it should depend on no ${what.replace(/^an? /, "")} that waits for it.`,
          fix: remove,
        });
      } else visit(other, [...above, entry.name]);
    });
    ordered.push(entry);
  };
  for (const entry of entries) visit(entry, []);
  return ordered;
}
