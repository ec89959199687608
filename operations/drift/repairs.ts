import { type Repair, RUN_SCRIPTS } from "./finding.ts";
import type { Difference } from "./inside.ts";

/** Where the differences stand that tell of data which is not on the volume. */
export const OFF_VOLUME = "volume.on[";

/** What repairs a difference that the machine's scripts tell: most they mend themselves, and what they refuse a person does. */
export function repairOf({ path, found }: Difference): Repair {
  if (path.startsWith(OFF_VOLUME)) return bringBack(path.slice(OFF_VOLUME.length, -1), found);
  return RUN_SCRIPTS;
}

/** Data that is elsewhere. Whoever uses it has to be stopped for it, and started on what is below. */
function bringBack(path: string, found: string): Repair {
  const stop = "systemctl stop docker.socket docker postgresql";
  const start = "systemctl start postgresql docker";
  const why =
    "what was written there is not on the volume: keep what is wanted of it. Then, for some seconds of downtime";
  return found.startsWith("a mount")
    ? { why, command: `${stop} && umount ${path} && ${start}` }
    : { why: `${why}, put a folder in the link's place and what is to be in it`, command: stop };
}
