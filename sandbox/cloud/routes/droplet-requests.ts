import { MAX_VOLUMES_PER_DROPLET } from "../../droplet/hypervisor.ts";
import { lowestFreeHost, publicAddress } from "../addresses.ts";
import { notSimulated, unprocessable } from "../errors.ts";
import { findImage } from "../images.ts";
import { ensureTags, findKey, findVolume } from "../lookups.ts";
import { assignToDefault } from "../project-resources.ts";
import type { BackupPolicy, CloudState, DropletRecord } from "../records.ts";
import { findRegion } from "../regions.ts";
import { findSize } from "../sizes.ts";
import { timestamp } from "../time.ts";
import type { Fields } from "./fields.ts";

const MAX_USER_DATA_BYTES = 64 * 1024;
const WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/** Records a new droplet; a create action then makes its machine. */
export function addDroplet(draft: CloudState, addressPrefix: string, name: string, body: Fields): DropletRecord {
  checkDropletName(name);
  const region = findRegion(body.text("region"));
  if (!region) throw unprocessable("You specified an invalid region for Droplet creation.");
  if (!region.available) throw unprocessable("Region is not available");
  const size = findSize(body.text("size"));
  if (!size) throw unprocessable("You specified an invalid size for Droplet creation.");
  if (!size.regions.includes(region.slug)) throw unprocessable("Size is not available in this region.");
  const image = findImage(body.identifier("image"));
  if (!image) throw unprocessable("You specified an invalid image for Droplet creation.");
  const userData = body.optionalText("user_data");
  if (userData !== undefined && Buffer.byteLength(userData) > MAX_USER_DATA_BYTES) {
    throw unprocessable("User data is too large: it must be 64 KiB or less.");
  }
  const vpc = body.optionalText("vpc_uuid") ?? draft.account.vpc_uuid;
  if (vpc !== draft.account.vpc_uuid) throw notSimulated("A VPC other than the account's default one");
  if (body.optionalFlag("public_networking") === false) throw notSimulated("A droplet without public networking");

  const sshKeys = readSshKeys(draft, body);
  const backupPolicy = body.optionalFlag("backups") ? readBackupPolicy(body) : undefined;
  const host = lowestFreeHost(draft.droplets.map((droplet) => droplet.host));
  const droplet: DropletRecord = {
    id: draft.next.droplet++,
    name,
    region: region.slug,
    size: size.slug,
    disk: size.disk,
    image: image.slug,
    status: "new",
    built: false,
    dead: false,
    host,
    public_address: publicAddress(addressPrefix, host),
    features: [
      ...(body.optionalFlag("backups") ? ["backups"] : []),
      ...(body.optionalFlag("monitoring") ? ["monitoring"] : []),
      ...(body.optionalFlag("with_droplet_agent") === false ? [] : ["droplet_agent"]),
      ...(body.optionalFlag("ipv6") ? ["ipv6"] : []),
      // Every droplet is in a VPC now, whatever the request contains.
      "private_networking",
    ],
    ...(backupPolicy && { backup_policy: backupPolicy }),
    tags: ensureTags(draft, body.texts("tags")),
    vpc_uuid: vpc,
    ...(userData !== undefined && { user_data: userData }),
    ssh_keys: sshKeys,
    created_at: timestamp(),
  };
  claimVolumes(draft, droplet, body);
  draft.droplets.push(droplet);
  assignToDefault(draft, `do:droplet:${droplet.id}`);
  return droplet;
}

export function checkDropletName(name: string): void {
  const labels = name.split(".");
  const valid = labels.every((label) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(label));
  if (!valid || name.length > 255) {
    throw unprocessable("Only valid hostname characters are allowed. (a-z, A-Z, 0-9, . and -)");
  }
}

function readSshKeys(draft: CloudState, body: Fields): string[] {
  const keys = body.scalars("ssh_keys").map((identifier) => ({ identifier, key: findKey(draft, String(identifier)) }));
  const unknown = keys.filter(({ key }) => key === undefined).map(({ identifier }) => identifier);
  if (unknown.length > 0) {
    throw unprocessable(`${unknown.join(", ")} are invalid key identifiers for Droplet creation.`);
  }
  return keys.flatMap(({ key }) => (key ? [key.public_key] : []));
}

function claimVolumes(draft: CloudState, droplet: DropletRecord, body: Fields): void {
  const ids = body
    .identifiersOrObjects("volumes")
    .map((volume) => (typeof volume === "string" ? volume : volume.text("id")));
  if (ids.length > MAX_VOLUMES_PER_DROPLET) throw unprocessable("exceed max volume count");
  for (const id of ids) {
    const volume = findVolume(draft, id);
    if (!volume || volume.droplet_id !== null || volume.region !== droplet.region) {
      throw unprocessable("Invalid volume allocations");
    }
    volume.droplet_id = droplet.id;
  }
}

/** The `backup_policy` of a request. The API reference's defaults: daily, at midnight; on Sunday if weekly. */
export function readBackupPolicy(body: Fields): BackupPolicy {
  const policy = body.object("backup_policy");
  const plan = policy?.optionalText("plan") ?? "daily";
  const weekday = policy?.optionalText("weekday") ?? "SUN";
  const hour = policy?.optionalInteger("hour") ?? 0;
  if (plan !== "daily" && plan !== "weekly") throw unprocessable("backup_policy.plan must be daily or weekly.");
  if (!WEEKDAYS.includes(weekday)) throw unprocessable(`backup_policy.weekday must be one of ${WEEKDAYS.join(", ")}.`);
  if (![0, 4, 8, 12, 16, 20].includes(hour)) {
    throw unprocessable("backup_policy.hour must be 0, 4, 8, 12, 16 or 20.");
  }
  return plan === "daily" ? { plan, hour } : { plan, weekday, hour };
}
