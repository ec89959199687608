import { readFileSync } from "node:fs";

import { describe, expect, it } from "vitest";
import { parse } from "yaml";

const readme = readFileSync("README.md", "utf8");

describe("the README", () => {
  it("lists every setting of Pulumi.yaml with its default, and no other", () => {
    const { config } = parse(readFileSync("Pulumi.yaml", "utf8")) as { config: Record<string, { default: unknown }> };
    const section = readme.slice(readme.indexOf("## Settings"), readme.indexOf("## Outputs"));
    const listed = [...section.matchAll(/^\| `(\w+)` +\| (.*?) +\|/gm)].map(([, key, value]) => [key, value]);
    const expected = Object.entries(config).map(([key, { default: value }]) => [key, `\`${shown(value)}\``]);
    expect(listed).toEqual(expected);
  });

  it("lists every output of the program, and no other", () => {
    const exported = [...readFileSync("index.ts", "utf8").matchAll(/^export const (\w+)/gm)].map(([, name]) => name);
    const section = readme.slice(readme.indexOf("## Outputs"), readme.indexOf("## Cost"));
    const rows = section.split("\n").filter((line) => line.startsWith("| `"));
    const listed = rows.flatMap((row) => [...(row.split("|")[1] ?? "").matchAll(/`(\w+)`/g)].map(([, name]) => name));
    expect(new Set(listed)).toEqual(new Set(exported));
  });

  it("quotes only npm scripts that exist", () => {
    const { scripts } = JSON.parse(readFileSync("package.json", "utf8")) as { scripts: Record<string, string> };
    const quoted = [...readme.matchAll(/npm run (?:--silent )?([\w:]+)/g)].map(([, name]) => name ?? "");
    expect(quoted.filter((name) => !(name in scripts))).toEqual([]);
  });
});

function shown(value: unknown): string {
  return typeof value === "string" && value !== "" ? value : JSON.stringify(value);
}
