import { globSync, readFileSync } from "node:fs";

import { describe, expect, it } from "vitest";
import { PRICES } from "../../digitalocean/cost.ts";
import { GENERATED } from "../../docs/generate.ts";

const readme = readFileSync("README.md", "utf8");

describe("the README", () => {
  it("describes every setting and output", () => {
    const rows = readme.match(/^\| `.*$/gm) ?? [];
    expect(rows.length).toBeGreaterThan(30);
    expect(rows.filter((row) => /\| +\|$/.test(row))).toEqual([]);
  });

  it("has the limits of every number", () => {
    const limits = globSync("settings/*.ts").flatMap((file) =>
      [...readFileSync(file, "utf8").matchAll(/read\.integer\("(\w+)", (\w+), (\w+)\)/g)].map(
        ([, key = "", least = "", most = ""]) => [key, least.replaceAll("_", ""), most.replaceAll("_", "")] as const,
      ),
    );
    expect(limits.length).toBeGreaterThan(5);
    const without = limits.filter(([key, least, most]) => {
      const row = readme.split("\n").find((line) => line.startsWith(`| \`${key}\``)) ?? "";
      return !row.includes(`from ${least} to ${most}`);
    });
    expect(without).toEqual([]);
  });

  it("quotes only npm scripts that exist", () => {
    const { scripts } = JSON.parse(readFileSync("package.json", "utf8")) as { scripts: Record<string, string> };
    const quoted = [...readme.matchAll(/npm run (?:--silent )?([\w:-]+)/g)].map(([, name]) => name ?? "");
    expect(quoted.filter((name) => !(name in scripts))).toEqual([]);
  });
});

describe("the documents", () => {
  it.each(Object.entries(GENERATED))("%s has the tables that npm run docs writes", (file, write) => {
    const text = readFileSync(file, "utf8");
    expect(text).toBe(write(text));
  });

  it("name the prices that each run counts with", () => {
    const prices: [file: string, text: string][] = [
      ["Pulumi.yaml", `${PRICES.snapshotGib} USD a month for each GiB`],
      ["Pulumi.yaml", `about ${PRICES.spaces} USD a month`],
      ["docs/backups.md", `Spaces cost ${PRICES.spaces} USD a month`],
      ["docs/backups.md", `costs ${PRICES.snapshotGib} USD a month for each GiB`],
      ["docs/file-storage.md", `Spaces cost ${PRICES.spaces} USD a month`],
      ["docs/file-storage.md", `a volume ${PRICES.volumeGb.toFixed(2)} USD`],
    ];
    expect(prices.filter(([file, text]) => !readFileSync(file, "utf8").includes(text))).toEqual([]);
    const nodes = readFileSync("docs/managed-database.md", "utf8").matchAll(/^\| `(db-\S+)` .*\| (\d+) +\|$/gm);
    expect([...nodes].map(([, size, usd]) => [size, Number(usd)])).toEqual([...PRICES.nodes]);
  });

  const commands = ["README.md", ...globSync("docs/*.md"), ...globSync("Pulumi.*.yaml")].flatMap((file) =>
    [...readFileSync(file, "utf8").matchAll(/pulumi config set [^`\n]*/g)].map(([command]) => command),
  );

  it("enter secrets at a prompt or from a file, because shells remember commands and read a PEM's dashes as flags", () => {
    const secret = commands.filter((command) => command.includes("--secret"));
    expect(secret).not.toEqual([]);
    const afterKey = (command: string) => command.split(/ && | --stack | < /)[0];
    expect(
      secret.filter(
        (command) => !/^pulumi config set (--path )?--secret ([\w:.]+|'[\w:.["\]]+')$/.test(afterKey(command) ?? ""),
      ),
    ).toEqual([]);
  });

  it("set no variable in a way that loses its text", () => {
    const variables = commands.filter((command) => /Environment\./.test(command));
    expect(variables.filter((command) => !/--secret|--type string/.test(command))).toEqual([]);
  });

  it("ask for this computer's IPv4 address, which /32 requires", () => {
    const asked = commands.filter((command) => command.includes("curl"));
    expect(asked).not.toEqual([]);
    expect(asked.filter((command) => !/curl -4 .*\)\/32"$/.test(command))).toEqual([]);
  });
});
