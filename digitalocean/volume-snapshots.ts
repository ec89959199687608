import * as pulumi from "@pulumi/pulumi";

import { valueOf } from "../contract/value-of.ts";
import { quote } from "../contract/scripts.ts";
import { RefusedError } from "./account.ts";
import { account } from "./own-account.ts";
import {
  INTERVAL_MINUTES,
  listSnapshots,
  makeSnapshot,
  recentSnapshot,
  type Snapshot,
  surplusSnapshots,
} from "./snapshots.ts";
import { onThisStack } from "../settings/on-this-stack.ts";

/**
 * The id of the snapshot that a volume should be made from.
 *
 * @param wanted  its id or name; empty for none
 * @returns empty for none
 * @throws pulumi.RunError if a volume of that size and region cannot be made from it
 */
export async function findSnapshot(wanted: string, region: string, sizeGb: number): Promise<string> {
  if (wanted === "") return "";
  const snapshots = await listSnapshots(account()).catch((error: unknown) => {
    throw new pulumi.RunError(`convex-droplet:volumeSnapshot: cannot be looked up. ${String(error)}`);
  });
  const fault = snapshotFault(snapshots, wanted, region, sizeGb);
  if (fault !== undefined) throw new pulumi.RunError(`convex-droplet:${fault}`);
  return snapshots.find(({ id, name }) => id === wanted || name === wanted)?.id ?? "";
}

/** Why a volume cannot be made from a snapshot, and what to do; undefined if it can. */
export function snapshotFault(
  snapshots: Snapshot[],
  wanted: string,
  region: string,
  sizeGb: number,
): string | undefined {
  const set = (setting: string) => `Set it with: ${onThisStack("config set", setting)}`;
  const remove = `If the volume was made from it before, remove the setting: ${onThisStack("config rm", "volumeSnapshot")}`;
  const usable = snapshots.filter(({ resource_type: type, regions }) => type === "volume" && regions.includes(region));
  const should =
    usable.length === 0
      ? `it should be one of a volume in ${region}, but there is none.`
      : `it should be one of a volume in ${region}, such as ${usable[0]?.name ?? ""}. ${set(`volumeSnapshot ${quote(usable[0]?.name ?? "")}`)}.`;
  const found = snapshots.filter(({ id, name }) => id === wanted || name === wanted);
  const [snapshot] = found;
  if (snapshot === undefined) return `volumeSnapshot: "${wanted}" is no snapshot of this account, ${should} ${remove}`;
  if (found.length > 1) {
    const ids = found.map(({ id, created_at: made }) => `${id} (${made})`).join(", ");
    return `volumeSnapshot: "${wanted}" is the name of ${found.length} snapshots, it should be the id of one: ${ids}. ${set(`volumeSnapshot ${snapshot.id}`)}`;
  }
  if (snapshot.resource_type !== "volume") return `volumeSnapshot: "${wanted}" is a snapshot of a droplet, ${should}`;
  if (!snapshot.regions.includes(region)) {
    return `volumeSnapshot: "${wanted}" is in ${snapshot.regions.join(", ")}, and cannot be moved, ${should}`;
  }
  if (sizeGb >= snapshot.min_disk_size) return undefined;
  return (
    `volumeSizeGb: ${sizeGb} is below ${snapshot.min_disk_size}, the size of the volume of snapshot ${snapshot.name}. ` +
    set(`volumeSizeGb ${snapshot.min_disk_size}`)
  );
}

/** Makes a snapshot of the volume before changes that can damage the data: one for all changes of a run. */
export class Safeguard {
  readonly #label: string;
  readonly #keep: number;
  readonly #used: string;
  /** The volumes that this run made. There is nothing on them yet that a snapshot could save. */
  readonly #new = new Set<string>();
  #done: Promise<void> | undefined;

  /**
   * @param label  the stack's name in the account
   * @param keep  how many snapshots to keep, of those that runs have made; 0 for making none
   * @param used  id of the snapshot that the volume is made from, which is also kept; empty for none
   */
  constructor(label: string, keep: number, used: string) {
    this.#label = label;
    this.#keep = keep;
    this.#used = used;
  }

  /** For the `afterCreate` of a volume. */
  afterNewVolume(name: string): pulumi.ResourceHook[] {
    return this.#hooks(`${name}-new-volume`, ({ id }) => {
      this.#new.add(id);
    });
  }

  /**
   * For the hook before a change. If no snapshot can be made, the change fails.
   *
   * @param volumeOf  the id of the volume that the change can damage; undefined for none
   */
  beforeChange(
    name: string,
    volumeOf: (args: pulumi.ResourceHookArgs) => pulumi.Input<string> | undefined,
  ): pulumi.ResourceHook[] {
    return this.#hooks(`${name}-snapshot`, async (args) => {
      const volume = volumeOf(args);
      if (volume === undefined) return;
      const id = await valueOf(volume);
      if (!this.#new.has(id)) await (this.#done ??= this.#snapshot(id));
    });
  }

  #hooks(name: string, run: (args: pulumi.ResourceHookArgs) => void | Promise<void>): pulumi.ResourceHook[] {
    return this.#keep === 0 ? [] : [new pulumi.ResourceHook(name, run)];
  }

  async #snapshot(volumeId: string): Promise<void> {
    try {
      const existing = await listSnapshots(account());
      // Also that of a run that was killed.
      const recent = recentSnapshot(existing, this.#label, volumeId);
      const made = recent ?? (await makeSnapshot(account(), this.#label, volumeId, true));
      await pulumi.log.info(
        recent === undefined
          ? `made snapshot ${made.name} of the volume`
          : `kept snapshot ${made.name} of the volume, because DigitalOcean makes only one in ${INTERVAL_MINUTES} minutes; what was written since then is not in it`,
      );
      await this.#removeSurplus(recent === undefined ? [made, ...existing] : existing);
    } catch (error) {
      throw new Error(refusal(error), { cause: error });
    }
  }

  /** What cannot be removed now is removed by a later run. */
  async #removeSurplus(snapshots: Snapshot[]): Promise<void> {
    const surplus = surplusSnapshots(snapshots, this.#label, this.#keep).filter(({ id }) => id !== this.#used);
    for (const { id, name } of surplus) {
      await account()
        .ask("DELETE", `/v2/snapshots/${id}`)
        .then(
          () => pulumi.log.info(`removed snapshot ${name}`),
          (error: unknown) => pulumi.log.warn(`snapshot ${name} was not removed. ${String(error)}`),
        );
    }
  }
}

function refusal(error: unknown): string {
  const reason = error instanceof Error ? error.message : String(error);
  const known =
    error instanceof RefusedError && error.status === 429
      ? ` DigitalOcean makes only one snapshot of a volume in ${INTERVAL_MINUTES} minutes, so wait.`
      : "";
  return (
    `convex-droplet:volumeSnapshots: the volume has no snapshot from before this change, so the change was not made. ${reason}.${known} ` +
    `Run ${onThisStack("up")} again, or go on without a snapshot: ${onThisStack("config set", "volumeSnapshots 0")}`
  );
}
