import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

import { parse } from "yaml";

const ROOT = path.resolve(import.meta.dirname, "..");
const read = (file: string) => readFileSync(path.join(ROOT, file), "utf8");

/** The README with its tables of settings and outputs, from Pulumi.yaml and index.ts. */
export function generated(readme: string): string {
  return withTable(withTable(readme, "## Settings", settings()), "## Outputs", outputs());
}

function settings(): string[][] {
  const { config } = parse(read("Pulumi.yaml")) as {
    config: Record<string, { description: string; default: unknown }>;
  };
  const shown = (value: unknown) => `\`${typeof value === "string" && value !== "" ? value : JSON.stringify(value)}\``;
  return [
    ["Key", "Default", "Meaning"],
    ["`digitalocean:token`", "", "API token, secret. You can also set `DIGITALOCEAN_TOKEN` in the environment."],
    ...Object.entries(config).map(([key, { description, default: value }]) => [
      `\`${key}\``,
      shown(value),
      description.trim().replaceAll(/\s+/g, " "),
    ]),
  ];
}

/** The exports, each with its comment. */
function outputs(): string[][] {
  const exported = read("index.ts").matchAll(/(?:\/\*\* (.*) \*\/\n)?export const (\w+)/g);
  return [["Output", ""], ...[...exported].map(([, meaning = "", name = ""]) => [`\`${name}\``, meaning])];
}

/** Replaces the first table after a heading. Its columns are aligned as the formatter does it. */
export function withTable(text: string, heading: string, rows: string[][]): string {
  const widths = rows[0]?.map((_, column) => Math.max(3, ...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const line = (cells: string[]) => `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  const [head = [], ...body] = rows;
  const table = [line(head), line(widths.map((width) => "-".repeat(width))), ...body.map(line)].join("\n");
  const start = text.indexOf("\n| ", text.indexOf(`${heading}\n`)) + 1;
  const end = text.indexOf("\n\n", start);
  return text.slice(0, start) + table + text.slice(end);
}

if (import.meta.main) writeFileSync(path.join(ROOT, "README.md"), generated(read("README.md")));
