import { RESOURCES } from "../../contract/names.ts";
import { tellState } from "../../recovery/grown-volume.ts";
import { askCloud } from "../droplet.ts";
import type { State } from "../state.ts";
import { pulumiCommand } from "../typed.ts";
import { error, type Finding, should } from "./finding.ts";

/**
 * Whether the stack's volume is larger than it was deployed. No refresh tells that: the provider fails one that finds it so.
 *
 * @throws Error when the cloud cannot be asked
 */
export async function compareVolume(state: State): Promise<Finding[]> {
  const volume = state.find("digitalocean:index/volume:Volume", RESOURCES.volume);
  if (volume === undefined) return [];
  const response = await askCloud(state, `/v2/volumes/${volume.id}`);
  if (response === undefined || response.status === 404) return [];
  if (!response.ok) throw new Error(`the cloud cannot be asked: it answers ${response.status} for the volume`);
  const found = ((await response.json()) as { volume: { size_gigabytes: number } }).volume.size_gigabytes;
  return grown(state.stack, found, Number(volume.inputs["size"]));
}

/** Pure. */
export function grown(stack: string, found: number, declared: number): Finding[] {
  if (found <= declared) return [];
  const why =
    "no volume shrinks, so let the stack have it as it is: " +
    [
      pulumiCommand(stack, "config set", `volumeSizeGb ${found}`),
      tellState(pulumiCommand(stack, "refresh")),
      pulumiCommand(stack, "up"),
    ].join(" && ");
  return [error(`cloud.${RESOURCES.volume}.size`, should(found, declared), { why })];
}
