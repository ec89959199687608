import * as pulumi from "@pulumi/pulumi";

import { itemsIn } from "../contract/scripts.ts";
import { onThisStack } from "../settings/on-this-stack.ts";
import { quoted } from "../settings/reader.ts";
import { formerVariables } from "./former-stdin.ts";

/** The settings that decide where the files are. */
interface Wanted {
  fileStorage: "volume" | "spaces" | "s3";
  fileRegion: string;
  fileEndpoint: string;
  fileBucketPrefix: string;
}

/** A place of files, as the settings that lead there, and in words. */
interface Place {
  settings: Record<string, string>;
  words: string;
}

/**
 * For the `beforeUpdate` of the resource that has the backend's variables in its stdin, and for the `beforeCreate` of buckets. Refuses, also in
 * a preview, to give an instance another storage than that of its first start. The backend would refuse another kind only when the old one
 * is already gone, and would not notice other buckets at all: the files would just be missing.
 */
export function refuseSwitch(name: string, wanted: Wanted): pulumi.ResourceHook {
  const refuse = async ({ oldInputs }: pulumi.ResourceHookArgs) => {
    const former = await formerVariables(name, oldInputs);
    if (former === undefined) return;
    const refusal = switchRefusal(name, former, wanted);
    if (refusal !== undefined) throw new Error(refusal);
  };
  return new pulumi.ResourceHook(`${name}-storage-switch`, refuse, { onDryRun: true });
}

/** Why the settings do not fit the backend's former variables; undefined if they do. */
export function switchRefusal(name: string, formerStdin: string, wanted: Wanted): string | undefined {
  const former = formerPlace(itemsIn(formerStdin, "environment"));
  const place = wantedPlace(wanted);
  if (JSON.stringify(former.settings) === JSON.stringify(place.settings)) return undefined;
  const back = Object.entries(former.settings).map(([key, value]) => onThisStack("config set", key, quoted(value)));
  return (
    `convex-droplet:fileStorage: is ${place.words}, but the instance has its files ${former.words} since its first start, so it should stay that. ` +
    `Convex cannot move them. Nothing was changed. Set it back with: ${back.join(" && ")}. To move the files, export everything and import it into ` +
    "a fresh instance: docs/file-storage.md. If no backend has ever run in this stack, replace the record of it: " +
    onThisStack("up", `--replace '**${name}-rehearsal'`)
  );
}

function wantedPlace({ fileStorage, fileRegion, fileEndpoint, fileBucketPrefix }: Wanted): Place {
  if (fileStorage === "volume") return VOLUME;
  return fileStorage === "spaces" ? inSpaces(fileRegion) : onServer(fileEndpoint, fileBucketPrefix);
}

/** The stack's own buckets end with digits of their own, those of somebody else with their use. */
function formerPlace(environment: string[]): Place {
  const variables = new Map(
    environment.map((line): [string, string] => {
      const end = line.indexOf("=");
      return [line.slice(0, end), line.slice(end + 1)];
    }),
  );
  const bucket = variables.get("S3_STORAGE_FILES_BUCKET") ?? "";
  if (bucket === "") return VOLUME;
  return bucket.endsWith("-files")
    ? onServer(variables.get("S3_ENDPOINT_URL") ?? "", bucket.slice(0, -"-files".length))
    : inSpaces(variables.get("AWS_REGION") ?? "");
}

const VOLUME: Place = { settings: { fileStorage: "volume" }, words: "on the volume" };

function inSpaces(region: string): Place {
  return { settings: { fileStorage: "spaces", fileRegion: region }, words: `in Spaces in ${region}` };
}

function onServer(endpoint: string, prefix: string): Place {
  return {
    settings: { fileStorage: "s3", fileEndpoint: endpoint, fileBucketPrefix: prefix },
    words: `in buckets ${prefix}-… at ${endpoint}`,
  };
}
