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

// The droplet's name is also the product's.
const NAMES = [...Object.values(RESOURCES), ...Object.values(CONTAINERS), MOUNTPOINT].filter(
  (name) => name !== RESOURCES.droplet,
);

it.each(["components", "digitalocean", "error-hooks", "operations", "ssh"].flatMap((folder) => sources(folder, ".ts")))(
  "%s uses the contract's names",
  (_file, text) => {
    // Logical names begin with the component's name, which is a parameter.
    const quoted = text.match(/"[^"\n]*"|`[^`]*`/g) ?? [];
    expect(quoted.filter((literal) => NAMES.some((name) => literal.slice(1, -1).split(/\s|'/).includes(name)))).toEqual(
      [],
    );
  },
);

it.each(sources("machine", ".sh"))("%s names only resources that exist", (_file, text) => {
  const named = [...text.matchAll(/'\*\*([a-z-]+)'/g)].map(([, name]) => name);
  expect(named.filter((name) => !(Object.values(RESOURCES) as (string | undefined)[]).includes(name))).toEqual([]);
});

it("values can be read from the lines of a script's stdin, and no value can become two", () => {
  const stdin = namedValues({ port: 3210, keys: ["ssh-ed25519 A", "ssh-ed25519 B"], none: [], password: "a=b" });
  expect(stdin).toBe("port=3210\nkeys=ssh-ed25519 A\nkeys=ssh-ed25519 B\nnone=\npassword=a=b\n");
  expect([valueIn(stdin, "password"), valueIn(stdin, "missing")]).toEqual(["a=b", ""]);
  expect(() => namedValues({ key: "a\npassword=b" })).toThrow("key: contains a line break");
});
