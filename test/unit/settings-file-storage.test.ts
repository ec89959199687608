import { beforeEach, describe, expect, it } from "vitest";

import { loadSettings } from "../../settings/load.ts";
import { configure, mistakesOf, mockEngine } from "./program.ts";

beforeEach(async () => {
  await mockEngine();
});

function filesOf(overrides: Record<string, unknown>) {
  configure(overrides);
  return loadSettings().files;
}

const S3 = {
  ...{ fileStorage: "s3", fileEndpoint: "https://s3.example.com:9000", fileBucketPrefix: "my-convex" },
  ...{ fileAccessKey: "AKIA123", fileSecretKey: "wJalr/+=" },
};

describe("files", () => {
  it("are on the volume by default", () => {
    expect(filesOf({})).toMatchObject({ fileStorage: "volume" });
  });

  it("in Spaces are in the droplet's region, if another one is not set, also if the backups are elsewhere", () => {
    expect(filesOf({ fileStorage: "spaces", region: "fra1", backups: "spaces", backupRegion: "ams3" }).fileRegion).toBe(
      "fra1",
    );
    expect(filesOf({ fileStorage: "spaces", region: "fra1", fileRegion: "ams3" }).fileRegion).toBe("ams3");
  });

  it("on another server need no region", () => {
    expect(filesOf(S3)).toMatchObject({ ...S3, fileRegion: "us-east-1" });
  });

  it.each([
    [
      { fileStorage: "bucket" },
      `fileStorage: "bucket" is not valid, it should be one of volume, spaces, s3. Set it with: npx pulumi config set --stack test fileStorage volume`,
    ],
    [
      { fileStorage: "spaces", region: "nyc1" },
      "fileRegion: is not set, and region nyc1 has no Spaces, it should be a region that has them",
    ],
    [
      { ...S3, fileEndpoint: "http://s3.example.com" },
      'fileEndpoint: "http://s3.example.com" is plain HTTP, it should be an https:// URL',
    ],
    [
      { ...S3, fileBucketPrefix: "My" },
      'fileBucketPrefix: "My" is not valid, it should be what the names of the five buckets begin with',
    ],
    [{ ...S3, fileBucketPrefix: "a".repeat(47) }, "fileBucketPrefix: "],
    [
      { fileStorage: "spaces", fileBucketPrefix: "mine" },
      "fileBucketPrefix: has no effect, because fileStorage is spaces, and the stack makes its own buckets and key. " +
        "Remove it with: npx pulumi config rm --stack test fileBucketPrefix, or use it with: npx pulumi config set --stack test fileStorage s3",
    ],
    [
      { fileRegion: "ams3" },
      "fileRegion: has no effect, because fileStorage is volume. Remove it with: npx pulumi config rm --stack test fileRegion, " +
        "or use it with: npx pulumi config set --stack test fileStorage spaces",
    ],
  ])("refuse %j", (overrides, message) => {
    expect(mistakesOf(overrides).join("\n")).toContain(`convex-droplet:${message}`);
  });

  it("refuse half of the settings for another server, with all that are missing at once", () => {
    const set = "it should be, because fileStorage is s3. Set it with: npx pulumi config set --stack test";
    expect(mistakesOf({ fileStorage: "s3", fileAccessKey: "AKIA123" })).toEqual([
      `convex-droplet:fileEndpoint: is not set, ${set} fileEndpoint https://s3.us-east-1.amazonaws.com`,
      `convex-droplet:fileBucketPrefix: is not set, ${set} fileBucketPrefix my-convex`,
      `convex-droplet:fileSecretKey: is not set, ${set} --secret fileSecretKey`,
    ]);
  });

  it("never show a key in a message", () => {
    const [mistake = ""] = mistakesOf({ ...S3, fileSecretKey: "a secret\nkey" });
    expect(mistake).toContain("fileSecretKey: contains other characters than a key of S3 has");
    expect(mistake).not.toContain("a secret");
  });
});
