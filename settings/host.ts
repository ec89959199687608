import { readNetworks } from "./kinds/networks.ts";
import { readOperatorKeys } from "./kinds/operator-keys.ts";
import { matches, type Reader, setWith } from "./reader.ts";
import { onThisStack } from "./on-this-stack.ts";

/** Droplet and volume, who may log in, and whether the stack's data may be deleted. */
export function readHost(read: Reader) {
  const settings = {
    region: read.text("region", matches(/^[a-z]{3}\d$/, "a region slug such as nyc3", "nyc3")),
    size: read.text("size", matches(/^[a-z0-9-]+$/, "a droplet size slug such as s-2vcpu-4gb", "s-2vcpu-4gb")),
    // The machine's scripts support these two distributions, and nothing that a custom image may add.
    image: read.text(
      "image",
      matches(/^(debian-13|ubuntu-24-04)-x64$/, "debian-13-x64 or ubuntu-24-04-x64", "debian-13-x64"),
    ),
    volumeSizeGb: read.integer("volumeSizeGb", 100, 16384),
    // 25 is DigitalOcean's limit for each volume. One is left for a person.
    volumeSnapshots: read.integer("volumeSnapshots", 0, 24),
    // Only the account's API can check the next two.
    volumeSnapshot: read.raw("volumeSnapshot").trim(),
    adoptVolume: read.raw("adoptVolume").trim(),
    protectData: read.flag("protectData"),
    reservedIp: read.flag("reservedIp"),
    driftIgnore: read.list(
      "driftIgnore",
      matches(/^[a-z]/, "the path of a finding, which starts with a word, such as containers.shop", "containers.shop"),
      "paths of findings",
      setWith("driftIgnore[0]", "containers.shop"),
    ),
    operatorKeys: readOperatorKeys(read, "operatorKeys"),
    adminCidrs: readNetworks(
      read,
      "adminCidrs",
      "it should contain the network that you run pulumi from, or no run can reach the droplet",
    ),
    rebootTime: read.text(
      "rebootTime",
      matches(/^(([01]\d|2[0-3]):[0-5]\d|never)$/, "a time from 00:00 to 23:59, or never", "08:00"),
    ),
    bootTimeoutSeconds: read.integer("bootTimeoutSeconds", 30, 3600),
  };
  if (settings.adoptVolume !== "" && settings.volumeSnapshot !== "") {
    read.refuse("adoptVolume", {
      sentence: "is set beside volumeSnapshot, it should be alone: a volume is either adopted or made from a snapshot.",
      fix: `Remove one of them with: ${onThisStack("config rm", "volumeSnapshot")}, or: ${onThisStack("config rm", "adoptVolume")}`,
    });
  }
  return settings;
}
