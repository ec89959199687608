import { parse } from "dotenv";
import { describe, expect, it } from "vitest";

import { mergeVariables } from "../../operations/env/merge.ts";

const KEY = "convex-self-hosted|0123ab";
const VARIABLES = { CONVEX_URL: "http://192.0.2.1:3210", KEY };
const merge = (text: string) => mergeVariables(text, VARIABLES).text;

describe("merging variables into an environment file", () => {
  it.each([
    ["an empty file", "", `CONVEX_URL=http://192.0.2.1:3210\nKEY="${KEY}"\n`],
    ["a file of others", "# mine\nA=1\n", `# mine\nA=1\nCONVEX_URL=http://192.0.2.1:3210\nKEY="${KEY}"\n`],
    ["no last line end", "A=1", `A=1\nCONVEX_URL=http://192.0.2.1:3210\nKEY="${KEY}"`],
    ["Windows' line ends", "A=1\r\nB=2\r\n", `A=1\r\nB=2\r\nCONVEX_URL=http://192.0.2.1:3210\r\nKEY="${KEY}"\r\n`],
    ["values at their places", "KEY=old\nA=1\nCONVEX_URL=x\n", `KEY="${KEY}"\nA=1\nCONVEX_URL=http://192.0.2.1:3210\n`],
    [
      "export, blanks, quotes and comments around a value",
      "  export KEY = 'old' # the key\nCONVEX_URL=x   # here\n",
      `  export KEY = "${KEY}" # the key\nCONVEX_URL=http://192.0.2.1:3210   # here\n`,
    ],
    ["no value", "KEY=\nCONVEX_URL= # none\n", `KEY="${KEY}"\nCONVEX_URL=http://192.0.2.1:3210 # none\n`],
    ["an old value over lines", 'KEY="a\nb"\nCONVEX_URL=x\n', `KEY="${KEY}"\nCONVEX_URL=http://192.0.2.1:3210\n`],
    [
      "a value that is set twice",
      "KEY=one\nKEY=two\nCONVEX_URL=x\n",
      `KEY="${KEY}"\nKEY="${KEY}"\nCONVEX_URL=http://192.0.2.1:3210\n`,
    ],
    [
      "text that only looks like a variable",
      `# KEY=no\nXKEY=1\nPEM="-----\nKEY=inside\n-----"\nKEY=old\nCONVEX_URL=x\n`,
      `# KEY=no\nXKEY=1\nPEM="-----\nKEY=inside\n-----"\nKEY="${KEY}"\nCONVEX_URL=http://192.0.2.1:3210\n`,
    ],
  ])("handles %s", (_, before, after) => {
    expect(merge(before)).toBe(after);
  });

  it("does not change a correct value in another notation", () => {
    const text = `KEY=${KEY}\nexport CONVEX_URL='http://192.0.2.1:3210'\n`;
    expect(mergeVariables(text, VARIABLES)).toEqual({ text, added: [], changed: [] });
  });

  it("reports the variables that it added and changed", () => {
    expect(mergeVariables("KEY=old\n", VARIABLES)).toMatchObject({ added: ["CONVEX_URL"], changed: ["KEY"] });
  });

  it("refuses a text that a parser would read differently", () => {
    expect(() => merge('CONVEX_URL=\n"http://old"\n')).toThrow(
      "cannot be changed safely, each value should begin on the line of its name",
    );
  });

  it("keeps everything else in a file, and does nothing the second time", () => {
    for (const text of files(500)) {
      const merged = merge(text);
      expect(parse(merged)).toEqual({ ...parse(text), ...VARIABLES });
      expect(mergeVariables(merged, VARIABLES)).toEqual({ text: merged, added: [], changed: [] });
      // All other lines are still there, in the same order.
      expect(foreign(merged)).toBe(foreign(text));
      expect(/[\r\n]$/.test(merged)).toBe(text === "" || /[\r\n]$/.test(text));
    }
  });
});

const OWN = ["KEY=old", "export KEY='old'", "KEY=", 'CONVEX_URL="http://old" # here', "CONVEX_URL=a=b"];
const FOREIGN = [
  "",
  "# KEY=commented",
  "A=1",
  "export B='it is'",
  'C="two\nlines"',
  "D=`a'b\"c`",
  "  E = 5 # five",
  "F",
];

/** Random environment files, the same ones every time. */
function* files(count: number): Generator<string> {
  let seed = 1;
  const random = (below: number) => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % below;
  };
  for (let file = 0; file < count; file++) {
    const lines = Array.from({ length: random(8) }, () => {
      const from = random(3) === 0 ? OWN : FOREIGN;
      return from[random(from.length)] ?? "";
    });
    const text = lines.join("\n") + (random(2) === 0 ? "\n" : "");
    yield random(2) === 0 ? text : text.replaceAll("\n", "\r\n");
  }
}

/** A file's lines without those of the two variables. */
function foreign(text: string): string {
  const lines = text.split(/\r?\n/).filter((line) => !/^(export )?(KEY|CONVEX_URL)=/.test(line));
  return lines.join("\n").trimEnd();
}
