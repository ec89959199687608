import { describe, expect, it } from "vitest";

import { describePreview, type Digest, reportOf } from "../../operations/ci/preview.ts";

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

describe("a preview's report", () => {
  it("counts the changes and lists them, the most severe first, without values of properties", () => {
    expect(reportOf("dev", DIGEST)).toBe(
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
    expect(reportOf("dev", digest)).toBe("### Preview of stack `dev`\n\n**Nothing to change**, 28 unchanged.\n");
  });

  it("warns about a change that would lose data", () => {
    const lost = (op: string, type: string) => reportOf("prod", { steps: [{ op, urn: urn(type, "x") }] });
    for (const type of ["digitalocean:index/volume:Volume", "postgresql:index/database:Database"]) {
      expect(lost("replace", type)).toContain("> [!CAUTION]");
      expect(lost("delete", type)).toContain("> [!CAUTION]");
      expect(lost("update", type)).not.toContain("> [!CAUTION]");
    }
    expect(lost("replace", "digitalocean:index/droplet:Droplet")).not.toContain("> [!CAUTION]");
  });

  it("points to the log if the preview failed", () => {
    expect(reportOf("dev", undefined)).toBe(
      "### Preview of stack `dev`\n\n**The preview failed.** The reason is in the log of the run.\n",
    );
  });
});

it("prints Pulumi's warnings, the cost and each change to the log", () => {
  expect(describePreview(DIGEST).split("\n")).toEqual([
    "warning: something is odd",
    "info: cost: 34.00 USD a month",
    "replace convex-droplet userData",
    "update convex-backend envs[0] image",
    "create a|b`c",
    "",
  ]);
});
