import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

import { parse } from "yaml";

import { type Charged, type MonthlyCost, monthlyCost } from "../digitalocean/cost.ts";
import { SIZES } from "../sandbox/cloud/sizes.ts";

const ROOT = path.resolve(import.meta.dirname, "..");
const read = (file: string) => readFileSync(path.join(ROOT, file), "utf8");

/** The documents with tables from Pulumi.yaml, index.ts and the price list, and what writes these tables. */
export const GENERATED: Record<string, (text: string) => string> = {
  "README.md": (text) =>
    withTable(
      withTable(withTable(text, "## Settings", settings()), "## Outputs", outputs()),
      "## Cost",
      costsOfStacks(),
    ),
  "docs/shapes.md": (text) => withTable(text, "## Costs", costsOfShapes()),
};

type Config = Record<string, unknown>;

function declared(): Record<string, { description: string; default: unknown }> {
  return (parse(read("Pulumi.yaml")) as { config: ReturnType<typeof declared> }).config;
}

function settings(): string[][] {
  const config = declared();
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

/** The stacks of this checkout. */
function costsOfStacks(): string[][] {
  const rows = ["dev", "prod"].map((stack) => {
    const { config } = parse(read(`Pulumi.${stack}.yaml`)) as { config: Config };
    const own = Object.entries(config).map(([key, value]) => [key.replace("convex-droplet:", ""), value]);
    const cost = costWith(Object.fromEntries(own) as Config);
    return [`\`${stack}\``, Object.keys(cost).join(", "), usd(cost)];
  });
  return [["Stack", "Parts", "USD a month"], ...rows];
}

function costsOfShapes(): string[][] {
  const shapes: [name: string, least: Config, production: Config, words: string][] = [
    ["one droplet", {}, {}, "with backups"],
    ["a managed database", { database: "managed" }, { databaseStandbys: 1 }, "with a standby node, and backups"],
    [
      "a managed one + buckets",
      { database: "managed", fileStorage: "spaces" },
      { databaseStandbys: 1 },
      "with a standby node, and backups",
    ],
  ];
  return [
    ["Shape", "At least", "As it should be in production"],
    ...shapes.map(([name, least, production, words]) => [
      name,
      usd(costWith(least)),
      `${usd(costWith({ ...least, ...production, backups: "spaces" }))}, ${words}`,
    ]),
  ];
}

/** The cost of a stack with these settings, and the defaults of all others. */
function costWith(set: Config): MonthlyCost {
  const config: Config = {
    ...Object.fromEntries(Object.entries(declared()).map(([key, { default: value }]) => [key, value])),
    ...set,
  };
  const charged: Charged = {
    size: String(config["size"]),
    volumeSizeGb: Number(config["volumeSizeGb"]),
    cluster:
      config["database"] === "managed"
        ? { size: String(config["databaseSize"]), count: Number(config["databaseStandbys"]) + 1 }
        : undefined,
    usesSpaces: [config["backups"], config["fileStorage"]].includes("spaces"),
  };
  return monthlyCost(
    charged,
    SIZES.map(({ slug, price_monthly: monthlyUsd }) => ({ slug, monthlyUsd })),
  );
}

function usd(cost: MonthlyCost): string {
  return String(Object.values(cost).reduce<number>((sum, part) => sum + Number(part), 0));
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

if (import.meta.main) {
  for (const [file, write] of Object.entries(GENERATED)) writeFileSync(path.join(ROOT, file), write(read(file)));
}
