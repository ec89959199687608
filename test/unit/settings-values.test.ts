import { readFileSync } from "node:fs";

import { beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";

import { mistakesOf, mockEngine } from "./program.ts";

const ADD = "--path --type string functionEnvironment.NAME -- VALUE";

beforeEach(async () => {
  await mockEngine();
});

describe("a variable", () => {
  // As the engine passes what YAML has read: +15550100199, 0x1F, 0755, 1_000, 1e3, .5, 1.0, 12345678901234567890,
  // True, ~, 2026-07-01, 2026-07-01T03:04:05.678+02:00.
  it.each([
    [15550100199, "a number"],
    [31, "a number"],
    [493, "a number"],
    [1000, "a number"],
    [0.5, "a number"],
    [1, "a number"],
    [12345678901234567000, "a number"],
    [0, "a number"],
    [true, "a boolean"],
    [false, "a boolean"],
    [null, "nothing"],
    ["2026-07-01 00:00:00 +0000 UTC", "a date"],
    ["2026-07-01 03:04:05.678 +0200 +0200", "a date"],
    [["s3cret"], "a list"],
    [{ s3cret: 1 }, "a map"],
  ])("that YAML has read as %j is refused by name, without being shown", (value, kind) => {
    for (const key of ["functionEnvironment", "backendEnvironment"]) {
      expect(mistakesOf({ [key]: { NAME: value, LOG_FORMAT: "json" } })).toEqual([
        `convex-droplet:${key}.NAME: is not text, it should be: YAML has read it as ${kind}, and the typed text is lost. ` +
          `Put it in quotes in Pulumi.test.yaml, or set it with: npx pulumi config set --stack test ${ADD.replace("functionEnvironment", key)}`,
      ]);
    }
  });

  it("that is text is accepted unchanged, also if it looks like something else", () => {
    const texts = ["+15550100199", "0x1F", "0755", "1_000", "1e3", ".5", "1.0", "yes", "off", "~", "null", "true", ""];
    const dates = ["2026-07-01", "2026-07-01T03:04:05Z", "2026-07-01 03:04:05"];
    const variables = Object.fromEntries(
      [...texts, ...dates, "12:30:45", " x "].map((text, index) => [`V${index}`, text]),
    );
    expect(mistakesOf({ functionEnvironment: variables })).toEqual([]);
  });

  it.each(["true", "false", "NaN", "<nil>", "31", "2026-07-01 00:00:00 +0000 UTC"])(
    "whose name YAML may have read as a value is refused: %s",
    (name) => {
      expect(mistakesOf({ functionEnvironment: { [name]: "s3cret" } })).toEqual([
        expect.stringMatching(
          /^convex-droplet:functionEnvironment\..*: is (not a variable's )?name.* Rename it\.$|read as a value/,
        ),
      ]);
    },
  );
});

describe("a key", () => {
  it.each([
    ["volumeSizeGB", "volumeSizeGb"],
    ["volumeSize", "volumeSizeGb"],
    ["adminCidr", "adminCidrs"],
    ["logLevl", "logLevel"],
    ["functionEnv", "functionEnvironment"],
    ["tunelport", "tunnelPort"],
    ["region.x", "region"],
  ])("that is not a setting is refused with the nearest one: %s", (key, nearest) => {
    expect(mistakesOf({ [key]: "s3cret" })).toEqual([
      `convex-droplet:${key}: is not a setting, it should be one; the nearest is ${nearest}. ` +
        `Rename it in Pulumi.test.yaml, or remove it with: npx pulumi config rm --stack test ${key}`,
    ]);
  });

  it.each([
    ["functionEnvironment.NAME", "functionEnvironment", "--path --secret functionEnvironment.NAME"],
    ["backendEnvironment.NAME", "backendEnvironment", "--path --secret backendEnvironment.NAME"],
    ["adminCidrs[0]", "adminCidrs", "--path 'adminCidrs[0]' VALUE"],
  ])("that was set without --path is refused with the right command: %s", (key, parent, fix) => {
    const quoted = key.includes("[") ? `'${key}'` : key;
    expect(mistakesOf({ [key]: "s3cret" })).toEqual([
      `convex-droplet:${key}: is a separate key, it should be part of ${parent}. ` +
        `Remove it with: npx pulumi config rm --stack test ${quoted}, and set it with: npx pulumi config set --stack test ${fix}`,
    ]);
  });

  it("of another namespace is ignored", () => {
    expect(
      mistakesOf({ "digitalocean:spacesAccessId": "x", "aws:region": "x", "convex-droplets:region": "x" }),
    ).toEqual([]);
  });
});

describe("a value of the wrong type", () => {
  it("is checked by the program, because Pulumi's own check stops at the first mistake", () => {
    const { config } = parse(readFileSync("Pulumi.yaml", "utf8")) as { config: Record<string, object> };
    const allowed = new Set(["description", "default"]);
    expect(
      Object.values(config)
        .flatMap(Object.keys)
        .filter((word) => !allowed.has(word)),
    ).toEqual([]);
  });

  it("hides no other mistake", () => {
    const found = mistakesOf({
      region: { a: 1 },
      volumeSizeGb: "many",
      bootTimeoutSeconds: [30],
      telemetry: "yes",
      operatorKeys: "ssh-ed25519 AAAA me",
      adminCidrs: "",
      allowedCidrs: [10, null],
      functionEnvironment: "",
      backendEnvironment: ["A"],
      dashboardPort: {},
      instanceName: "",
      volumeSizeGB: 120,
    });
    expect(found.map((line) => /^convex-droplet:([\w[\]]+): /.exec(line)?.[1])).toEqual([
      "functionEnvironment",
      "region",
      "volumeSizeGb",
      "operatorKeys",
      "adminCidrs",
      "bootTimeoutSeconds",
      "allowedCidrs[0]",
      "allowedCidrs[1]",
      "dashboardPort",
      "instanceName",
      "telemetry",
      "backendEnvironment",
      "volumeSizeGB",
    ]);
  });

  it.each(["0x64", "1e3", " 100 ", "0100", "+100", "100.0", "1_000", "-0", ""])(
    "is a number in another spelling: %j",
    (text) => {
      expect(mistakesOf({ volumeSizeGb: text })).toEqual([
        `convex-droplet:volumeSizeGb: "${text}" is not a whole number, it should be one from 100 to 16384. Set it with: npx pulumi config set --stack test volumeSizeGb 100`,
      ]);
    },
  );
});

describe("an image of the droplet", () => {
  it("is accepted if the machine's scripts support it", () => {
    expect(mistakesOf({ image: "debian-13-x64" })).toEqual([]);
    expect(mistakesOf({ image: "ubuntu-24-04-x64" })).toEqual([]);
  });

  it.each([
    "debian-11-x64",
    "debian-12-x64",
    "debian-130-x64",
    "ubuntu-22-04-x64",
    "ubuntu-24-10-x64",
    "ubuntu-24-04",
    "155133621",
  ])("is refused otherwise: %s", (image) => {
    expect(mistakesOf({ image })).toEqual([
      `convex-droplet:image: "${image}" is not valid, it should be debian-13-x64 or ubuntu-24-04-x64. Set it with: npx pulumi config set --stack test image debian-13-x64`,
    ]);
  });
});

describe("the time of reboots", () => {
  it.each(["00:00", "08:00", "19:30", "23:59", "never"])("may be %s", (rebootTime) => {
    expect(mistakesOf({ rebootTime })).toEqual([]);
  });

  it.each(["25:00", "24:00", "12:60", "8:00", "4am", "04:00:00", "04:00 UTC", "Never", "now", ""])(
    "is refused if it is %j",
    (rebootTime) => {
      expect(mistakesOf({ rebootTime })).toEqual([
        `convex-droplet:rebootTime: "${rebootTime}" is not valid, it should be a time from 00:00 to 23:59, or never. Set it with: npx pulumi config set --stack test rebootTime ${rebootTime === "Never" ? "never" : "08:00"}`,
      ]);
    },
  );
});

describe("an image of a container", () => {
  const digest = `@sha256:${"a".repeat(64)}`;

  it.each([
    "convex-backend",
    "ghcr.io/get-convex/backend:V1.2",
    "127.0.0.1:5000/a/b-c__d.e",
    "Registry.example.com:5000/x",
  ])("must be pinned: %s", (name) => {
    expect(mistakesOf({ backendImage: name + digest })).toEqual([]);
    expect(mistakesOf({ backendImage: name })).toEqual([
      expect.stringContaining(`"${name}" may be another image tomorrow`),
    ]);
  });

  it.each(["a//b", "a/", "a:::b", "a:x:y", "a..b", "-a", "a_-b", "A/B", ""])("must be a reference: %j", (name) => {
    expect(mistakesOf({ backendImage: name + digest })).toEqual([
      expect.stringMatching(
        /is not an image reference.* Use the program's default with: npx pulumi config rm --stack test backendImage$/,
      ),
    ]);
  });
});

describe("a log level", () => {
  it.each(["info", "off", "warn,database=debug", "common::errors=trace,info"])("is accepted: %s", (logLevel) => {
    expect(mistakesOf({ logLevel })).toEqual([]);
  });

  it.each(["verbose", "infoo", "info,", ",", "=", "database", "database=loud", "a=b=debug", "INFO", ""])(
    "is refused: %j",
    (logLevel) => {
      expect(mistakesOf({ logLevel })).toEqual([
        expect.stringContaining(`"${logLevel}" is not valid, it should be a level`),
      ]);
    },
  );
});
