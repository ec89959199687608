import { describe, expect, it } from "vitest";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import { compareConvex } from "../../operations/findings/convex/backend.ts";
import { sha256 } from "../../operations/findings/facts.ts";
import { compareFunctionEnvironment } from "../../operations/findings/functions/environment.ts";
import { failed, insideOf, stateOf, type Told, told } from "./findings.ts";

const SECRET = "0123456789abcdef".repeat(4);
const NEW_BACKEND = "replace convex-backend; refresh convex-backend";

describe("a backend", () => {
  const state = stateOf({
    type: TYPES.container,
    name: RESOURCES.backend,
    inputs: {
      envs: [
        "CONVEX_CLOUD_ORIGIN=https://api.example.com",
        "CONVEX_SITE_ORIGIN=https://site.example.com",
        "INSTANCE_NAME=mine",
        `INSTANCE_SECRET=${SECRET}`,
      ],
    },
  });
  const FULL = '200\n{"success":true,"isReadOnly":false}\n';
  const READER = '200\n{"success":true,"isReadOnly": true}\n';
  const WELL = {
    "backend.version": "unknown",
    "backend.instance_name": "mine\n",
    "backend.site": "",
    "backend.dashboard": "",
    "backend.admin_key": FULL,
    "backend.read_only_key": READER,
    "backend.canonical_urls": {
      convexCloudUrl: "https://api.example.com",
      convexSiteUrl: "https://site.example.com",
    },
    "backend.files": "",
    "backend.instance_secret": `${sha256(SECRET)}\n`,
  };

  /** Findings about a backend that serves, except for these facts. None shows its secret, another one or a hash. */
  function found(facts: Record<string, string | object>, ...differences: { subject: string }[]): Told[] {
    const findings = compareConvex(state, insideOf({ ...WELL, ...facts }, ...differences));
    const report = JSON.stringify(findings);
    for (const secret of [SECRET, sha256(SECRET), sha256("another")]) expect(report).not.toContain(secret);
    return told(findings);
  }

  it("that serves has no finding, with or without a key to read with", () => {
    expect(found({})).toEqual([]);
    const inside = insideOf(WELL);
    inside.facts.delete("backend.read_only_key");
    expect(compareConvex(state, inside)).toEqual([]);
  });

  it("with a bucket that does not answer it has a finding that names the bucket", () => {
    const buckets = [
      ["a-files", "0", "200", "<ListBucketResult/>"],
      ["a-modules", "0", "403", "<Error><Code>AccessDenied</Code></Error>"],
      ["a-search", "6", "000", "curl: (6) Could not resolve host: fra1.example.com"],
    ];
    const text = buckets.map((words) => `${words.join(" ")}\n`).join("");
    const should = "it should list its objects: no file in it can be read";
    expect(found({ "backend.buckets": text })).toEqual([
      [
        `error convex backend.buckets backend.buckets[a-modules]: answers 403 to the backend, ${should}`,
        "replace convex-buckets; refresh ",
      ],
      [
        `error convex backend.buckets backend.buckets[a-search]: answers nothing (curl: (6) Could not resolve host: fra1.example.com) to the backend, ${should}`,
        "replace convex-buckets; refresh ",
      ],
    ]);
  });

  it("that is not deployed yet has no finding", () => {
    expect(compareConvex(stateOf(), insideOf({}))).toEqual([]);
  });

  it("that does not answer is one finding, and its files are checked too", () => {
    const facts = {
      "backend.version": failed("refused"),
      "backend.site": failed(),
      "backend.instance_secret": failed(),
    };
    expect(found(facts)).toEqual([
      ["error convex backend.version backend: does not answer on its port, it should", NEW_BACKEND],
      ["error convex backend.instance_secret backend.instance_secret: is not on the volume, it should be", NEW_BACKEND],
    ]);
  });

  const key = (name: string, message: string): Told => [
    `error convex backend.${name} backend.${name}: ${message}`,
    NEW_BACKEND,
  ];
  const refused = (found: string) =>
    `is answered with ${found}, it should be accepted: the backend runs with another secret or name`;
  const overridden = "somebody has overridden it in the dashboard's settings or by the API, undo that there";

  it.each<[fact: string, given: string | object, told: Told]>([
    ["instance_name", "it's another\n", key("instance_name", "is it's another, it should be mine")],
    ["site", failed(), ["error convex backend.site backend.site: does not answer on its port, it should", NEW_BACKEND]],
    [
      "dashboard",
      failed(),
      [
        "error convex backend.dashboard dashboard: does not answer on its port, it should",
        "replace convex-dashboard; refresh convex-dashboard",
      ],
    ],
    ["admin_key", '401\n{"code":"BadAdminKey"}\n', key("admin_key", refused("401"))],
    ["admin_key", failed(), key("admin_key", refused("nothing"))],
    ["admin_key", READER, key("admin_key", "may only read, it should not")],
    ["read_only_key", "403\n{}\n", key("read_only_key", refused("403"))],
    ["read_only_key", FULL, key("read_only_key", "may change things, it should not")],
    [
      "canonical_urls",
      { convexCloudUrl: "https://old.example.com", convexSiteUrl: "https://site.example.com" },
      [
        "error convex backend.canonical_urls backend.cloud_origin: is https://old.example.com, it should be https://api.example.com",
        overridden,
      ],
    ],
    [
      "canonical_urls",
      { convexCloudUrl: "https://api.example.com" },
      [
        "error convex backend.canonical_urls backend.site_origin: is nothing, it should be https://site.example.com",
        overridden,
      ],
    ],
    [
      "files",
      "/mnt/convex/data/.accepted\n",
      [
        "error convex backend.files backend.files: are not the files that this instance was accepted with, they should be",
        "rm /mnt/convex/data/.accepted",
      ],
    ],
    [
      "instance_secret",
      `${sha256("another")}  -`,
      key("instance_secret", "on the volume is not the stack's, it should be"),
    ],
    ["instance_secret", failed(sha256(SECRET)), key("instance_secret", "is not on the volume, it should be")],
  ])("has another %s: %j", (fact, given, expected) => {
    expect(found({ [`backend.${fact}`]: given })).toEqual([expected]);
  });

  it("whose URLs cannot be read has no finding about them", () => {
    expect(found({ "backend.canonical_urls": failed() })).toEqual([]);
  });

  it.each<[what: string, facts: Record<string, string>, differences: { subject: string }[], told: Told[]]>([
    ["whose data is elsewhere", { "backend.files": "mark" }, [{ subject: "volume.on[/mnt/convex/data]" }], []],
    [
      "whose files are lost",
      { "backend.files": "mark" },
      [],
      [
        [
          "error convex backend.files backend.files: are not the files that this instance was accepted with, they should be",
          "rm mark",
        ],
      ],
    ],
  ])("%s has no finding about its secret", (_, facts, differences, expected) => {
    expect(found({ ...facts, "backend.instance_secret": sha256("another") }, ...differences)).toEqual(expected);
  });
});

describe("the functions' variables", () => {
  const VALUES = { API_KEY: "sk-declared-and-secret", "it's": "quoted-and-secret" };
  const OTHER = "sk-found-and-secret";
  const HASHES = Object.fromEntries(Object.entries(VALUES).map(([name, value]) => [name, sha256(value)]));
  const deployed = (stdin: string) =>
    stateOf({ type: TYPES.command, name: RESOURCES.functionEnvironment, inputs: { stdin } });
  const state = deployed(`port=3210\nvariables=${JSON.stringify(VALUES)}\n`);

  it.each<[what: string, state: ReturnType<typeof stateOf>, fact: string | object]>([
    ["are as declared, with some of other people", state, { ...HASHES, OTHERS: sha256(OTHER) }],
    ["cannot be read", state, failed("403")],
    ["were deployed by an earlier release, in another form", deployed('{"variables":{}}'), {}],
    ["were never deployed", stateOf(), {}],
  ])("that %s are not found", (_, given, fact) => {
    expect(compareFunctionEnvironment(given, insideOf({ "functions.environment": fact }))).toEqual([]);
  });

  it("are found by name if they are missing or different, and no value or hash is shown", () => {
    const findings = compareFunctionEnvironment(
      state,
      insideOf({ "functions.environment": { API_KEY: sha256(OTHER) } }),
    );
    const repair = "replace convex-function-environment; refresh ";
    const path = "functions.environment functions.environment";
    expect(told(findings)).toEqual([
      [`error functions ${path}.API_KEY: has another value than it should`, repair],
      [`error functions ${path}.it's: is not set, it should be`, repair],
    ]);
    const report = JSON.stringify(findings);
    for (const value of [...Object.values(VALUES), OTHER]) {
      expect(report).not.toContain(value);
      expect(report).not.toContain(sha256(value));
    }
  });
});
