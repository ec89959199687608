import { globSync, readFileSync } from "node:fs";
import path from "node:path";

import { expect, it } from "vitest";

/** What each part may import besides itself and `contract`, as CONTRIBUTING.md and sandbox/README.md say; upper parts first. */
const ALLOWED: Record<string, string[]> = {
  index: ["components", "functions", "ssh", "digitalocean", "settings", "unmapped"],
  operations: ["ssh", "digitalocean", "examples", "settings"],
  components: ["error-hooks", "s3", "digitalocean", "settings"],
  functions: ["ssh", "settings", "examples"],
  "error-hooks": ["digitalocean", "settings"],
  ssh: ["digitalocean", "settings"],
  digitalocean: ["settings"],
  s3: ["settings"],
  settings: [],
  unmapped: [],
  policy: [],
  examples: [],
  contract: [],
  sandbox: ["sandbox/cloud", "sandbox/images", "sandbox/spaces", "sandbox/droplet", "sandbox/engine", "sandbox/*"],
  "sandbox/cloud": ["sandbox/spaces", "sandbox/droplet", "sandbox/*"],
  "sandbox/images": ["sandbox/droplet", "sandbox/*"],
  "sandbox/spaces": ["sandbox/engine", "sandbox/*"],
  "sandbox/droplet": ["sandbox/*"],
  "sandbox/plugins": ["sandbox/engine", "sandbox/*"],
  "sandbox/engine": ["sandbox/*"],
  // The files beside these folders, without those on top.
  "sandbox/*": [],
};
const SANDBOX_TOP = ["sandbox/cli.ts", "sandbox/sandbox.ts", "sandbox/domain.ts"];

const FILES = globSync("**/*.ts", { exclude: ["node_modules", "**/node_modules", "test", "docs", "vitest.config.ts"] });

/** The part of a file: the folder at the top or, without `.ts`, the file itself; one level deeper in the sandbox. */
function partOf(file: string): string {
  const [top = "", next = "", deeper] = file.split("/");
  if (top !== "sandbox") return path.basename(top, ".ts");
  if (SANDBOX_TOP.includes(file)) return top;
  return deeper === undefined ? "sandbox/*" : `${top}/${next}`;
}

/** The files that a file imports, also if only for their types. */
function importsOf(file: string): string[] {
  const statements = /(?:^(?:import|export) (?:type )?(?:[^;"]*? from )?|\bimport\()"(\.[^"]+)"/gm;
  return [...readFileSync(file, "utf8").matchAll(statements)].map(([, specifier = ""]) =>
    path.join(path.dirname(file), specifier),
  );
}

it("each part imports only parts below it", () => {
  const parts = Object.keys(ALLOWED);
  const upward = parts.flatMap((part, index) =>
    (ALLOWED[part] ?? []).filter((other) => parts.indexOf(other) <= index).map((other) => `${part} -> ${other}`),
  );
  expect(upward).toEqual([]);

  const forbidden = FILES.flatMap((file) => {
    const allowed = ALLOWED[partOf(file)]?.concat(partOf(file), "contract") ?? [];
    return importsOf(file)
      .filter((other) => !allowed.includes(partOf(other)))
      .map((other) => `${file} -> ${other}`);
  });
  expect(forbidden).toEqual([]);
});

it("no files need each other in a circle", () => {
  const imports = new Map(FILES.map((file) => [file, importsOf(file)]));
  // Takes away the files that need none of the rest, until only circles and what needs them are left.
  for (let size = Infinity; imports.size < size;) {
    size = imports.size;
    for (const [file, others] of imports) if (!others.some((other) => imports.has(other))) imports.delete(file);
  }
  expect([...imports.keys()]).toEqual([]);
});
