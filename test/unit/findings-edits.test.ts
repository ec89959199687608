import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { expect, it } from "vitest";

import { deleteHost, deleteLine, deleteLinesWith, deleteSetting } from "../../operations/findings/edits.ts";

const FILE = "/etc/hosts";

/** What is left of a text after these commands, one after the other. */
function edited(text: string, ...commands: string[]): string {
  const folder = mkdtempSync(path.join(tmpdir(), "convex-droplet-edits-"));
  const file = path.join(folder, "file");
  writeFileSync(file, text);
  for (const command of commands) execFileSync("sh", ["-c", command.replace(FILE, file)]);
  const left = readFileSync(file, "utf8");
  rmSync(folder, { recursive: true });
  return left;
}

const HOSTS =
  "127.0.0.1 localhost\n192.0.2.7 ghcr.io registry.example\n192.0.2.8\tpypi.org\n10.0.0.1 ghcrxio.example\n";
const KEY = 'from="192.0.2.*",command="echo \'a|b\' $HOME" ssh-ed25519 AAAA+/x== me';

it.each([
  [
    "names, two of them in one line",
    HOSTS,
    [
      deleteHost("192.0.2.7", "ghcr.io"),
      deleteHost("192.0.2.7", "registry.example"),
      deleteHost("192.0.2.8", "pypi.org"),
    ],
    "127.0.0.1 localhost\n10.0.0.1 ghcrxio.example\n",
  ],
  ["a name that another one only resembles", HOSTS, [deleteHost("10.0.0.1", "ghcr.io")], HOSTS],
  [
    "keys, in the order in which they are found",
    `${KEY}\nssh-rsa BBBB you\nours\n`,
    [deleteLine(KEY, FILE), deleteLine(" ssh-rsa BBBB you", FILE)],
    "ours\n",
  ],
  [
    "a source, but not its comment",
    "# deb http://a.example/debian x\ndeb [trusted=yes] http://a.example/debian x main\ndeb http://a.example y\n",
    [deleteLinesWith("http://a.example/debian", FILE)],
    "# deb http://a.example/debian x\ndeb http://a.example y\n",
  ],
  [
    "a setting in any spelling, but no longer name",
    "\tHot_Standby = off\nhot_standby_feedback = on\n#hot_standby = on\n",
    [deleteSetting("hot_standby", FILE)],
    "hot_standby_feedback = on\n#hot_standby = on\n",
  ],
])("%s: only that is deleted, also by a second run", (_, text, commands, left) => {
  expect(edited(text, ...commands)).toBe(left);
  expect(edited(text, ...commands, ...commands)).toBe(left);
});
