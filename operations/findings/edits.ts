import { quote } from "../../contract/scripts.ts";

/**
 * Commands that delete lines from files by their text. Line numbers would not work for two commands, because the first one
 * moves all lines below.
 */

/** Deletes a line, with any blanks around it. */
export function deleteLine(line: string, file: string): string {
  return `sed -i '\\|^[[:space:]]*${escaped(line.trim())}[[:space:]]*$|d' ${quote(file)}`;
}

/** Deletes all lines that contain a text, except comments. */
export function deleteLinesWith(text: string, file: string): string {
  return `sed -i '\\|^[^#]*${escaped(text)}|d' ${quote(file)}`;
}

/** Deletes the line of /etc/hosts that gives a name this address. */
export function deleteHost(address: string, name: string): string {
  return `sed -i '\\|^[[:space:]]*${escaped(address)}[[:space:]]\\(.*[[:space:]]\\)*${escaped(name)}\\([[:space:]].*\\)*$|d' /etc/hosts`;
}

/** Deletes a setting of PostgreSQL, which accepts names in upper and lower case. */
export function deleteSetting(name: string, file: string): string {
  return `sed -i '/^[[:space:]]*${escaped(name)}[[:space:]=]/Id' ${quote(file)}`;
}

/** Deletes an account, and none whose name only looks like it. */
export function deleteAccount(name: string): string {
  return `sed -i '\\|^${escaped(name)}:|d' /etc/passwd /etc/shadow`;
}

/** Escapes text for a basic regular expression in single quotes of the shell, delimited by `|`. */
function escaped(text: string): string {
  return text.replaceAll(/[\\.*[\]^$|]/g, "\\$&").replaceAll(/['\p{Cc}]/gu, ".");
}
