import { describe, expect, test } from "vitest";
import type { Properties } from "../../sandbox/plugins/framework/definition.ts";
import { diffProperties, withoutIgnored } from "../../sandbox/plugins/framework/diff.ts";
import { Archive, Asset, UNKNOWN } from "../../sandbox/plugins/framework/values.ts";
import type { PropertyBag, Value } from "../../sandbox/plugins/framework/values.ts";

const TEXT = { type: "string" } as const;
const RULE = {
  type: "object",
  properties: { port: { type: "integer", replaces: true }, note: TEXT, id: { type: "string", computed: true } },
} as const;

const table = {
  text: TEXT,
  key: { type: "string", replaces: true },
  region: { type: "string", computed: true },
  hash: { type: "string", same: (state, input) => state === "hash of a" && input === "a" },
  flag: { type: "boolean" },
  list: { type: "list", items: TEXT },
  rules: { type: "list", items: RULE },
  labels: { type: "set", items: RULE, replaces: true },
  options: { type: "map", items: TEXT },
  file: { type: "asset" },
  any: { type: "any" },
} as const satisfies Properties;

/** `+path`, `-path`, `~path`, with `!` if it replaces. */
function diff(olds: PropertyBag, news: PropertyBag, bridged = true): string[] {
  const marks = { add: "+", delete: "-", update: "~" };
  return diffProperties(table, olds, news, { bridged }).map(
    ({ path, kind, replaces }) => marks[kind] + path + (replaces ? "!" : ""),
  );
}

describe("a difference", () => {
  test.each<[PropertyBag, PropertyBag, string[]]>([
    [{ text: "a" }, { text: "a" }, []],
    [{ text: "a" }, { text: "b" }, ["~text"]],
    [{}, { text: "a" }, ["+text"]],
    [{ text: "a" }, {}, ["-text"]],
    [{ text: "a" }, { text: UNKNOWN }, ["~text"]],
    [{ key: "a" }, { key: "b" }, ["~key!"]],
    [{ list: ["a", "b"] }, { list: ["a", "c", "d"] }, ["~list[1]", "+list[2]"]],
    [{ list: ["a", "b"] }, { list: ["b"] }, ["-list[0]"]],
    [
      { options: { a: "1", "b.c": "2" } },
      { options: { "b.c": "3", d: "4" } },
      ["-options.a", '~options["b.c"]', "+options.d"],
    ],
    [{ rules: [{ port: 1, note: "a" }] }, { rules: [{ port: 1, note: "b" }] }, ["~rules[0].note"]],
    [{ rules: [{ port: 1 }] }, { rules: [{ port: 2 }] }, ["~rules[0].port!"]],
    [{ rules: [{ port: 1, id: "by the cloud" }] }, { rules: [{ port: 1 }] }, []],
    [{ labels: [{ port: 1 }, { port: 2 }] }, { labels: [{ port: 2 }, { port: 1 }] }, []],
    [{ labels: [{ port: 1 }, { port: 1 }] }, { labels: [{ port: 1 }] }, ["-labels[1]!"]],
    [{ labels: [{ port: 1 }, { port: 2 }] }, { labels: [{ port: 2 }, { port: 3 }] }, ["-labels[0]!", "+labels[1]!"]],
    [{ labels: [{ port: 1 }] }, { labels: [{ port: 2 }] }, ["~labels[0].port!"]],
    [{ labels: [] }, { labels: [{ port: 2 }] }, ["+labels!"]],
    [{ labels: [{ port: 1 }] }, { labels: [] }, ["-labels!"]],
    [{ hash: "hash of a" }, { hash: "a" }, []],
    [{ hash: "hash of a" }, { hash: "b" }, ["~hash"]],
    [{ file: new Asset({ hash: "1" }) }, { file: new Asset({ text: "a", hash: "1" }) }, []],
    [{ file: new Asset({ hash: "1" }) }, { file: new Archive({ path: "a", hash: "2" }) }, ["~file"]],
    [{ any: { a: [new Asset({ hash: "1" })] } }, { any: { a: [new Asset({ text: "a", hash: "1" })] } }, []],
    [{ any: { a: [1] } }, { any: { a: [UNKNOWN] } }, ["~any"]],
  ])("between %o and %o is %o", (olds, news, expected) => {
    expect(diff(olds, news)).toEqual(expected);
  });
});

describe("an absent value", () => {
  test.each<[string, Value]>([
    ["text", ""],
    ["flag", false],
    ["list", []],
    ["options", {}],
  ])("of %s is the same as %o for a bridged plugin, not for a native one", (key, zero) => {
    expect(diff({ [key]: zero }, {})).toEqual([]);
    expect(diff({}, { [key]: zero })).toEqual([]);
    expect(diff({ [key]: zero }, {}, false)).toEqual([`-${key}`]);
    expect(diff({}, { [key]: zero }, false)).toEqual([`+${key}`]);
  });

  test("of a computed input is no difference for a bridged plugin", () => {
    expect(diff({ region: "ams3" }, {})).toEqual([]);
    expect(diff({ region: "ams3" }, { region: "fra1" })).toEqual(["~region"]);
    expect(diff({ region: "ams3" }, {}, false)).toEqual(["-region"]);
  });
});

describe("ignored changes", () => {
  test.each<[string, string[]]>([
    ["text", ["rules[0].note", "rules[1].note", 'options["b.c"]']],
    ["rules", ["text", 'options["b.c"]']],
    ["rules[0]", ["text", "rules[1].note", 'options["b.c"]']],
    ["rules[*].note", ["text", 'options["b.c"]']],
    ['options["b.c"]', ["text", "rules[0].note", "rules[1].note"]],
    ["rule", ["text", "rules[0].note", "rules[1].note", 'options["b.c"]']],
    ["*", []],
  ])("under %s leave %o", (ignored, left) => {
    const paths = ["text", "rules[0].note", "rules[1].note", 'options["b.c"]'];
    const changes = paths.map((path) => ({ path, kind: "update", replaces: false }) as const);
    expect(withoutIgnored(changes, [ignored]).map(({ path }) => path)).toEqual(left);
  });
});
