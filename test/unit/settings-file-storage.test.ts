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
      { fileStorage: "spaces", fileRegion: "eu-central-1" },
      "fileRegion: eu-central-1 is no region of DigitalOcean, it should be a region that has them: ams3, ",
    ],
    [
      {
        ...{ ...S3, backups: "s3", backupEndpoint: S3.fileEndpoint, backupBucket: "my-convex-files" },
        ...{ backupAccessKey: "AKIA123", backupSecretKey: "wJalr/+=" },
      },
      "backupBucket: is my-convex-files, where Convex's files are, it should be a bucket for backups alone. Set it with: npx pulumi config set --stack test backupBucket my-convex-backups",
    ],
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

  it.each([
    ["https://s3.example.com:9000/", '"https://s3.example.com:9000/" is not valid', "https://s3.example.com:9000"],
    [
      "https://s3.example.com/my-convex-files",
      '"https://s3.example.com/my-convex-files" is not valid',
      "https://s3.example.com",
    ],
    ["s3.example.com", '"s3.example.com" is not valid', "https://s3.example.com"],
    ["http://s3.example.com", '"http://s3.example.com" is plain HTTP', "https://s3.example.com"],
    ["https://S3.Example.com", '"https://S3.Example.com" is not valid', "https://s3.example.com"],
    ["https://s3.example.com:443", '"https://s3.example.com:443" is not valid', "https://s3.example.com"],
    ["https://me:secret@s3.example.com", "contains an @", "https://s3.example.com"],
    [
      "https://127.0.0.1:9000",
      '"https://127.0.0.1:9000" is the machine itself that uses it',
      "https://s3.us-east-1.amazonaws.com",
    ],
    [
      "https://localhost",
      '"https://localhost" is the machine itself that uses it',
      "https://s3.us-east-1.amazonaws.com",
    ],
    ["[]", '"[]" is not valid', "https://s3.us-east-1.amazonaws.com"],
  ])("refuse the server %s, and propose what was probably meant", (fileEndpoint, is, value) => {
    const [mistake = "", ...others] = mistakesOf({ ...S3, fileEndpoint });
    expect(others).toEqual([]);
    expect(mistake).toContain(`convex-droplet:fileEndpoint: ${is}, it should be`);
    expect(mistake.endsWith(` fileEndpoint ${value}`)).toBe(true);
    expect(mistakesOf({ ...S3, fileEndpoint: value })).toEqual([]);
    expect(mistake).not.toContain("secret@");
  });

  it("propose what was typed, in small letters, if that is right", () => {
    expect(mistakesOf({ ...S3, fileBucketPrefix: "MyConvex ", fileRegion: "EU-Central-1" })).toEqual([
      expect.stringMatching(/fileRegion eu-central-1$/),
      expect.stringMatching(/fileBucketPrefix myconvex$/),
    ]);
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
