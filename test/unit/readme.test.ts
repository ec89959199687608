import { globSync, readFileSync } from "node:fs";

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

describe("the documents", () => {
  const commands = ["README.md", ...globSync("docs/*.md"), ...globSync("Pulumi.*.yaml")].flatMap((file) =>
    [...readFileSync(file, "utf8").matchAll(/pulumi config set [^`\n]*/g)].map(([command]) => command),
  );

  it("give secrets by prompt or from a file, since a command line is remembered and takes a PEM's dashes for flags", () => {
    const secret = commands.filter((command) => command.includes("--secret"));
    expect(secret).not.toEqual([]);
    const afterKey = (command: string) => command.split(/ && | --stack | < /)[0];
    expect(
      secret.filter((command) => !/^pulumi config set (--path )?--secret [\w:.]+$/.test(afterKey(command) ?? "")),
    ).toEqual([]);
  });

  it("set no variable in a form that loses its text", () => {
    const variables = commands.filter((command) => /Environment\./.test(command));
    expect(variables.filter((command) => !/--secret|--type string/.test(command))).toEqual([]);
  });

  it("ask for this computer's IPv4 address, which is what /32 is for", () => {
    const asked = commands.filter((command) => command.includes("curl"));
    expect(asked).not.toEqual([]);
    expect(asked.filter((command) => !/curl -4 .*\)\/32"$/.test(command))).toEqual([]);
  });
});

function shown(value: unknown): string {
  return typeof value === "string" && value !== "" ? value : JSON.stringify(value);
}
