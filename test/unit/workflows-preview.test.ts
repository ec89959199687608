import { describe, expect, it } from "vitest";

import { describePreview, type Digest, reportOf, type Violation } from "../../operations/ci/preview.ts";

const urn = (type: string, name: string) =>
  `urn:pulumi:dev::convex-droplet::convex-droplet:index:Host$${type}::${name}`;

const DIGEST = {
  steps: [
    { op: "same", urn: urn("digitalocean:index/sshKey:SshKey", "convex-key") },
    {
      op: "update",
      urn: urn("docker:index/container:Container", "convex-backend"),
      detailedDiff: { "envs[0]": { kind: "update" }, image: { kind: "update" } },
      newState: { inputs: { envs: ["INSTANCE_SECRET=do-not-show"] } },
    },
    { op: "create-replacement", urn: urn("digitalocean:index/droplet:Droplet", "convex-droplet") },
    {
      op: "replace",
      urn: urn("digitalocean:index/droplet:Droplet", "convex-droplet"),
      detailedDiff: { userData: { kind: "update-replace" } },
      replaceReasons: ["userData"],
    },
    { op: "delete-replaced", urn: urn("digitalocean:index/droplet:Droplet", "convex-droplet") },
    { op: "create", urn: urn("command:remote:Command", "a|b`c") },
  ],
  changeSummary: { same: 24, update: 1, replace: 1, create: 1 },
  diagnostics: [
    { severity: "warning", message: "something is odd\n" },
    { severity: "info", message: "not of interest" },
    { severity: "info", message: "cost: 34.00 USD a month\n" },
  ],
} as Digest;

const VIOLATIONS: Violation[] = [
  {
    resourceUrn: urn("docker:index/container:Container", "convex-backend"),
    policyName: "images-by-digest",
    enforcementLevel: "mandatory",
    message: "Every image is pinned.\nconvex-backend: image is do-not-show, it should not.\n",
  },
  { policyName: "a-rule", enforcementLevel: "advisory", message: "Odd." },
];

const read = (digest: Digest, violations: Violation[] = [], exitCode = 0) => ({ exitCode, digest, violations });

describe("a preview's report", () => {
  it("counts the changes and lists them, the most severe first, without values of properties", () => {
    expect(reportOf("dev", read(DIGEST))).toBe(
      [
        "### Preview of stack `dev`",
        "",
        "**1 to replace, 1 to update, 1 to create**, 24 unchanged.",
        "",
        "| | Resource | Type | Properties |",
        "| --- | --- | --- | --- |",
        "| replace | `convex-droplet` | `digitalocean:index/droplet:Droplet` | `userData` |",
        "| update | `convex-backend` | `docker:index/container:Container` | `envs[0]`, `image` |",
        "| create | `a\\|b'c` | `command:remote:Command` |  |",
        "",
        "Values are left out; `npx pulumi preview --diff --stack dev` shows them.",
        "",
      ].join("\n"),
    );
  });

  it("says if nothing would change", () => {
    const digest = { steps: [{ op: "same", urn: urn("x:y:Z", "z") }], changeSummary: { same: 28 } };
    expect(reportOf("dev", read(digest))).toBe("### Preview of stack `dev`\n\n**Nothing to change**, 28 unchanged.\n");
  });

  it("warns about a change that would lose data", () => {
    const lost = (op: string, type: string) => reportOf("prod", read({ steps: [{ op, urn: urn(type, "x") }] }));
    for (const type of ["digitalocean:index/volume:Volume", "postgresql:index/database:Database"]) {
      expect(lost("replace", type)).toContain("> [!CAUTION]");
      expect(lost("delete", type)).toContain("> [!CAUTION]");
      expect(lost("update", type)).not.toContain("> [!CAUTION]");
    }
    expect(lost("replace", "digitalocean:index/droplet:Droplet")).not.toContain("> [!CAUTION]");
  });

  it("points to the log if the preview failed", () => {
    for (const failed of [undefined, read({}, [], 1)]) {
      expect(reportOf("dev", failed)).toBe(
        "### Preview of stack `dev`\n\n**The preview failed.** The reason is in the log of the run.\n",
      );
    }
  });

  it("lists the broken rules, without their messages", () => {
    expect(reportOf("dev", read(DIGEST, VIOLATIONS, 1))).toBe(
      [
        "### Preview of stack `dev`",
        "",
        "| | Broken rule | Resource |",
        "| --- | --- | --- |",
        "| mandatory | `images-by-digest` | `convex-backend` |",
        "| advisory | `a-rule` | the stack |",
        "",
        "**The preview failed.** The reason is in the log of the run.",
        "",
      ].join("\n"),
    );
  });
});

it("prints Pulumi's warnings, the cost, broken rules and each change to the log", () => {
  expect(describePreview(read(DIGEST, VIOLATIONS)).split("\n")).toEqual([
    "warning: something is odd",
    "info: cost: 34.00 USD a month",
    "error: images-by-digest: Every image is pinned. convex-backend: image is do-not-show, it should not.",
    "warning: a-rule: Odd.",
    "replace convex-droplet userData",
    "update convex-backend envs[0] image",
    "create a|b`c",
    "",
  ]);
});
