import { describe, expect, it } from "vitest";

import { switchRefusal } from "../../components/storage-switch.ts";
import { mockEngine } from "./program.ts";

type Wanted = Parameters<typeof switchRefusal>[2];

const wanted = (settings: Partial<Wanted>): Wanted => ({
  ...{ fileStorage: "volume", fileRegion: "fra1", fileEndpoint: "", fileBucketPrefix: "" },
  ...settings,
});
const stdin = (...variables: string[]) =>
  ["name=convex", "INSTANCE_NAME=convex", ...variables].map((line) => `environment=${line}\n`).join("");

const VOLUME = stdin();
const SPACES = stdin(
  ...["AWS_REGION=fra1", "S3_ENDPOINT_URL=https://fra1.digitaloceanspaces.com"],
  "S3_STORAGE_FILES_BUCKET=convex-test-files-1a2b3c4d",
);
const SERVER = stdin(
  ...["AWS_REGION=us-east-1", "S3_ENDPOINT_URL=https://s3.example.com", "S3_STORAGE_FILES_BUCKET=mine-files"],
);
const MINE = { fileStorage: "s3", fileEndpoint: "https://s3.example.com", fileBucketPrefix: "mine" } as const;

describe("an instance that has run", async () => {
  await mockEngine();

  it.each([
    [VOLUME, wanted({})],
    ["", wanted({})],
    [SPACES, wanted({ fileStorage: "spaces" })],
    [SERVER, wanted(MINE)],
    // A region that only the signature names.
    [SERVER, wanted({ ...MINE, fileRegion: "eu-central-1" })],
  ])("keeps its storage without a word", (former, settings) => {
    expect(switchRefusal("convex", former, settings)).toBeUndefined();
  });

  it.each([
    [VOLUME, wanted({ fileStorage: "spaces" }), "is in Spaces in fra1", "on the volume", "fileStorage volume"],
    [
      VOLUME,
      wanted(MINE),
      "is in buckets mine-… at https://s3.example.com",
      "on the volume",
      "config set --stack test fileStorage volume",
    ],
    [
      SPACES,
      wanted({}),
      "is on the volume",
      "in Spaces in fra1",
      "config set --stack test fileStorage spaces && npx pulumi config set --stack test fileRegion fra1",
    ],
    [SPACES, wanted({ fileStorage: "spaces", fileRegion: "ams3" }), "is in Spaces in ams3", "in Spaces in fra1", ""],
    [
      SERVER,
      wanted({ ...MINE, fileBucketPrefix: "other" }),
      "is in buckets other-… at https://s3.example.com",
      "in buckets mine-… at https://s3.example.com",
      "fileBucketPrefix mine",
    ],
  ])("is not given another storage: %j to %j", (former, settings, is, has, back) => {
    const refusal = switchRefusal("convex", former, settings);
    expect(refusal).toContain(`convex-droplet:fileStorage: ${is}, but the instance has its files ${has} since`);
    expect(refusal).toContain(back);
    expect(refusal).toContain("docs/file-storage.md");
  });
});
