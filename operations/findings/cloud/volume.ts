import { RESOURCES, TYPES } from "../../../contract/names.ts";
import { tellState } from "../../../digitalocean/grown-volume.ts";
import { accountOf, NO_TOKEN, orNothing } from "../../droplet.ts";
import type { State } from "../../state.ts";
import { pulumiCommand } from "../../../contract/commands.ts";
import { type Finding, findingsBy } from "../finding.ts";

/**
 * Checks whether the stack's volume is larger than it was deployed. A refresh cannot show this, because the provider fails
 * then.
 *
 * @throws Error if the cloud cannot be asked
 */
export async function compareVolume(state: State): Promise<Finding[]> {
  const volume = state.find(TYPES.volume, RESOURCES.volume);
  const account = accountOf(state);
  if (volume === undefined) return [];
  if (account === undefined) throw new Error(NO_TOKEN);
  const asked = account.ask<{ volume: { size_gigabytes: number } }>("GET", `/v2/volumes/${volume.id}`);
  const found = (await orNothing(asked))?.volume.size_gigabytes ?? 0;
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
  const where = [`cloud.${RESOURCES.volume}`, "size"] as const;
  return [findingsBy("DigitalOcean", "cloud").error(where, { expected: declared, found }, { why })];
}
