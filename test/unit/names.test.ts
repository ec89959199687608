import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

import { expect, it } from "vitest";

import { CONTAINERS, MOUNTPOINT, RESOURCES } from "../../contract/names.ts";
import { namedValues, valueIn } from "../../contract/scripts.ts";

/** The texts of a folder's sources, by path. */
const sources = (folder: string, end: string) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(end))
    .map((name) => [path.join(folder, name), readFileSync(path.join(folder, name), "utf8")] as const);

// The droplet's is the product's own name, too.
const NAMES = [...Object.values(RESOURCES), ...Object.values(CONTAINERS), MOUNTPOINT].filter(
  (name) => name !== RESOURCES.droplet,
);

it.each(["components", "digitalocean", "error-hooks", "operations", "ssh"].flatMap((folder) => sources(folder, ".ts")))(
  "%s takes names from the contract",
  (_file, text) => {
    // Logical names have a component's own before them, which is a parameter.
    const quoted = text.match(/"[^"\n]*"|`[^`]*`/g) ?? [];
    expect(quoted.filter((literal) => NAMES.some((name) => literal.slice(1, -1).split(/\s|'/).includes(name)))).toEqual(
      [],
    );
  },
);

it.each(sources("machine", ".sh"))("%s names resources that there are", (_file, text) => {
  const named = [...text.matchAll(/'\*\*([a-z-]+)'/g)].map(([, name]) => name);
  expect(named.filter((name) => !(Object.values(RESOURCES) as (string | undefined)[]).includes(name))).toEqual([]);
});

it("values come back from the lines that a script reads, and none can be two", () => {
  const stdin = namedValues({ port: 3210, keys: ["ssh-ed25519 A", "ssh-ed25519 B"], none: [], password: "a=b" });
  expect(stdin).toBe("port=3210\nkeys=ssh-ed25519 A\nkeys=ssh-ed25519 B\nnone=\npassword=a=b\n");
  expect([valueIn(stdin, "password"), valueIn(stdin, "missing")]).toEqual(["a=b", ""]);
  expect(() => namedValues({ key: "a\npassword=b" })).toThrow("key: holds a line break");
});
