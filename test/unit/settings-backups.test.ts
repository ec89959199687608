import { beforeEach, describe, expect, it } from "vitest";

import { loadSettings } from "../../settings/load.ts";
import { configure, mistakesOf, mockEngine } from "./program.ts";

beforeEach(async () => {
  await mockEngine();
});

function backupsOf(overrides: Record<string, unknown>) {
  configure(overrides);
  return loadSettings().backups;
}

const S3 = {
  ...{ backups: "s3", backupEndpoint: "https://s3.example.com:9000", backupBucket: "my-backups" },
  ...{ backupAccessKey: "AKIA123", backupSecretKey: "wJalr/+=" },
};

describe("backups", () => {
  it("are off by default, and kept for thirty days", () => {
    expect(backupsOf({})).toMatchObject({ backups: "off", backupDays: 30 });
  });

  it("in Spaces are in the droplet's region, if another one is not set", () => {
    expect(backupsOf({ backups: "spaces", region: "fra1" }).backupRegion).toBe("fra1");
    expect(backupsOf({ backups: "spaces", region: "fra1", backupRegion: "ams3" }).backupRegion).toBe("ams3");
    // A region that is newer than this program.
    expect(backupsOf({ backups: "spaces", region: "fra1", backupRegion: "mad1" }).backupRegion).toBe("mad1");
  });

  it("on another server need no region", () => {
    expect(backupsOf(S3)).toMatchObject({ ...S3, backupRegion: "us-east-1" });
  });

  it.each([
    [
      { backups: "on" },
      `backups: "on" is not valid, it should be one of spaces, s3, off. Set it with: npx pulumi config set --stack test backups spaces`,
    ],
    [{ backups: "s4" }, `Set it with: npx pulumi config set --stack test backups s3`],
    [
      { backups: "spaces", region: "nyc1" },
      "backupRegion: is not set, and region nyc1 has no Spaces, it should be a region that has them",
    ],
    [{ backups: "spaces", backupRegion: "New York" }, 'backupRegion: "New York" is not valid'],
    [
      { ...S3, backupEndpoint: "http://s3.example.com" },
      'backupEndpoint: "http://s3.example.com" is plain HTTP, it should be an https:// URL',
    ],
    [
      { ...S3, backupEndpoint: "https://s3.example.com/my-backups" },
      'backupEndpoint: "https://s3.example.com/my-backups" is not valid',
    ],
    [{ ...S3, backupEndpoint: "s3.example.com" }, 'backupEndpoint: "s3.example.com" is not valid'],
    [{ ...S3, backupEndpoint: "" }, "backupEndpoint: is not set, it should be, because backups is s3."],
    [{ ...S3, backupBucket: "" }, "backupBucket: is not set"],
    [{ ...S3, backupBucket: "My.Bucket" }, 'backupBucket: "My.Bucket" is not valid'],
    [{ ...S3, backupAccessKey: "" }, "Set it with: npx pulumi config set --stack test --secret backupAccessKey"],
    [
      { ...S3, backupAuthority: "-----BEGIN PRIVATE KEY-----" },
      "backupAuthority: is not a certificate of an authority",
    ],
    [{ backups: "spaces", backupBucket: "my-backups" }, "backupBucket: has no effect, because backups is spaces"],
    [{ backupDays: 0 }, "backupDays: 0 is below 1, it should be from 1 to 365."],
    [{ backupDays: 366 }, "backupDays: 366 is above 365, it should be from 1 to 365."],
  ])("refuse %j", (overrides, message) => {
    expect(mistakesOf(overrides).join("\n")).toContain(
      `convex-droplet:${message}`.replace("convex-droplet:Set", "Set"),
    );
  });

  it("never show a key in a message", () => {
    const [mistake = ""] = mistakesOf({ ...S3, backupSecretKey: "a secret\nkey" });
    expect(mistake).toContain("backupSecretKey: contains other characters than a key of S3 has");
    expect(mistake).not.toContain("a secret");
  });
});
