/**
 * Commands that take lines out of files by what they say. By their numbers a second command would take another line, as the first
 * one moves all below it.
 */

/** One line, whatever blanks are around it. */
export function deleteLine(line: string, file: string): string {
  return `sed -i '\\|^[[:space:]]*${escaped(line.trim())}[[:space:]]*$|d' ${file}`;
}

/** All lines, comments left out, that hold a text. */
export function deleteLinesWith(text: string, file: string): string {
  return `sed -i '\\|^[^#]*${escaped(text)}|d' ${file}`;
}

/** The line by which a name leads to an address. */
export function deleteHost(address: string, name: string): string {
  return `sed -i '\\|^[[:space:]]*${escaped(address)}[[:space:]]\\(.*[[:space:]]\\)*${escaped(name)}\\([[:space:]].*\\)*$|d' /etc/hosts`;
}

/** PostgreSQL takes names in either case. */
export function deleteSetting(name: string, file: string): string {
  return `sed -i '/^[[:space:]]*${escaped(name)}[[:space:]=]/Id' ${file}`;
}

/** For a basic regular expression between quotes of the shell, delimited by bars. */
function escaped(text: string): string {
  return text.replaceAll(/[\\.*[\]^$|]/g, "\\$&").replaceAll("'", ".");
}
