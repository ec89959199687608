import { readFileSync } from "node:fs";

import { beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";

import { mistakesOf, mockEngine } from "./program.ts";

beforeEach(async () => {
  await mockEngine();
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
  ])("that is no setting is refused, and the nearest named: %s", (key, nearest) => {
    expect(mistakesOf({ [key]: "s3cret" })).toEqual([
      `convex-droplet:${key}: is not a setting, it should be one; the nearest is ${nearest}. ` +
        `Rename it in Pulumi.test.yaml, or remove it with: pulumi config rm ${key}`,
    ]);
  });

  it.each([
    ["functionEnvironment.NAME", "functionEnvironment", "--path --secret functionEnvironment.NAME"],
    ["backendEnvironment.NAME", "backendEnvironment", "--path --secret backendEnvironment.NAME"],
    ["adminCidrs[0]", "adminCidrs", "--path 'adminCidrs[0]' VALUE"],
  ])("that was set without --path is told of as that: %s", (key, parent, fix) => {
    const quoted = key.includes("[") ? `'${key}'` : key;
    expect(mistakesOf({ [key]: "s3cret" })).toEqual([
      `convex-droplet:${key}: is a key of its own, it should be a part of ${parent}. ` +
        `Remove it with: pulumi config rm ${quoted}, and set it with: pulumi config set ${fix}`,
    ]);
  });

  it("of another namespace is nobody's business", () => {
    expect(
      mistakesOf({ "digitalocean:spacesAccessId": "x", "aws:region": "x", "convex-droplets:region": "x" }),
    ).toEqual([]);
  });
});

describe("a value of the wrong type", () => {
  it("is left to the program, since Pulumi's own check ends at the first", () => {
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
      "allowedCidrs[0]",
      "allowedCidrs[1]",
      "bootTimeoutSeconds",
      "instanceName",
      "dashboardPort",
      "telemetry",
      "backendEnvironment",
      "volumeSizeGB",
    ]);
  });

  it.each(["0x64", "1e3", " 100 ", "0100", "+100", "100.0", "1_000", "-0", ""])(
    "is a number in another spelling: %j",
    (text) => {
      expect(mistakesOf({ volumeSizeGb: text })).toEqual([
        `convex-droplet:volumeSizeGb: "${text}" is not a whole number, it should be one from 100 to 16384. Set it with: pulumi config set volumeSizeGb 100`,
      ]);
    },
  );
});
