import { randomUUID } from "node:crypto";

import { conflict, unprocessable } from "../errors.ts";
import { ensureTags } from "../lookups.ts";
import { assignToDefault } from "../project-resources.ts";
import type { CloudState, VolumeRecord } from "../records.ts";
import { findRegion } from "../regions.ts";
import { timestamp } from "../time.ts";
import type { Fields } from "./fields.ts";

/** 16 TiB. */
export const MAX_VOLUME_GIGABYTES = 16384;

const MAX_LABEL = { ext4: 16, xfs: 12 };

/** Records a new volume, which has no disk yet. */
export function addVolume(draft: CloudState, body: Fields): VolumeRecord {
  const name = body.text("name");
  if (!/^[a-z][a-z0-9-]{0,63}$/.test(name)) {
    throw unprocessable(
      "Name must start with a letter, be lower case letters, digits and hyphens only, and have 64 characters at most.",
    );
  }
  const region = findRegion(body.text("region"));
  if (!region) throw unprocessable("You specified an invalid region for Volume creation.");
  if (!region.available) throw unprocessable("Region is not available");
  const sizeGigabytes = body.integer("size_gigabytes");
  if (sizeGigabytes < 1 || sizeGigabytes > MAX_VOLUME_GIGABYTES) {
    throw unprocessable(`size_gigabytes: is ${sizeGigabytes}, must be from 1 to ${MAX_VOLUME_GIGABYTES}.`);
  }
  const snapshot = readSnapshot(draft, region.slug, sizeGigabytes, body.optionalText("snapshot_id") ?? "");
  if (draft.volumes.some((volume) => volume.name === name && volume.region === region.slug)) {
    throw conflict("already exists");
  }
  const volume: VolumeRecord = {
    id: randomUUID(),
    name,
    region: region.slug,
    size_gigabytes: sizeGigabytes,
    description: body.optionalText("description") ?? "",
    ...(snapshot ?? readFilesystem(body)),
    droplet_id: null,
    tags: ensureTags(draft, body.texts("tags")),
    created_at: timestamp(),
    phase: "creating",
  };
  draft.volumes.push(volume);
  assignToDefault(draft, `do:volume:${volume.id}`);
  return volume;
}

/** What a volume gets from the snapshot that the request names, if it names one. */
function readSnapshot(state: CloudState, region: string, sizeGigabytes: number, id: string) {
  if (id === "") return undefined;
  const snapshot = state.snapshots.find((candidate) => candidate.id === id);
  if (snapshot?.region !== region) throw unprocessable(`snapshot_id: ${id} is not a snapshot in ${region}.`);
  if (sizeGigabytes < snapshot.min_disk_size) {
    throw unprocessable(`size_gigabytes: is ${sizeGigabytes}, must be at least ${snapshot.min_disk_size}.`);
  }
  const { filesystem_type, filesystem_label } = snapshot;
  return { filesystem_type, filesystem_label, snapshot_id: id };
}

function readFilesystem(body: Fields): Pick<VolumeRecord, "filesystem_type" | "filesystem_label"> {
  const type = body.optionalText("filesystem_type") ?? "";
  const label = body.optionalText("filesystem_label") ?? "";
  if (type !== "" && type !== "ext4" && type !== "xfs") {
    throw unprocessable(`filesystem_type: is ${type}, must be ext4 or xfs.`);
  }
  const longest = type === "" ? 0 : MAX_LABEL[type];
  if (label.length > longest) {
    throw unprocessable(`filesystem_label: has ${label.length} characters, must have ${longest} at most.`);
  }
  return { filesystem_type: type, filesystem_label: label };
}
