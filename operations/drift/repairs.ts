import { SCRIPTS } from "../../contract/scripts.ts";
import { type Repair, RUN_SCRIPTS, type Up } from "./finding.ts";
import type { Difference } from "./inside.ts";
import { MOUNTPOINT, RESOURCES } from "../../contract/names.ts";

/** Where the differences stand that tell of data which is not on the volume. */
export const OFF_VOLUME = "volume.on[";

/** What repairs a difference that the machine's scripts tell: most they mend themselves, and what they refuse a person does. */
export function repairOf({ path, expected, found }: Difference): Repair {
  if (path.startsWith(OFF_VOLUME)) return bringBack(path.slice(OFF_VOLUME.length, -1), found);
  if (path.startsWith(`files[${SCRIPTS}/`)) return copyScripts(path, expected);
  if (path === "links[/opt/convex]" && found !== "nothing") return { why: LINK, command: MOVE_LINK };
  if (path.startsWith("sshd.")) return unlessOverridden(path.slice("sshd.".length));
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

/** They are run as root, so they are never run to mend themselves. */
function copyScripts(path: string, expected: string): Repair {
  const file = path.slice("files[".length, path.lastIndexOf("]"));
  if (path.endsWith("].mode")) {
    return {
      why: "give it back to root alone, and look at what is in it",
      command: `chown root:root ${file} && chmod go-w ${file}`,
    };
  }
  if (expected === "nothing")
    return { why: "no script of this program: look at it, and remove it", command: `rm ${file}` };
  return { up: [RESOURCES.scripts] };
}

const LINK =
  "the scripts make no link where something is, and refuse to go on: until it is gone, no up repairs anything else";
const MOVE_LINK = `mv --no-target-directory /opt/convex /opt/convex.before && ln -s ${MOUNTPOINT} /opt/convex`;

/** Where the server reads what, only a person can tell; the scripts write their own file and refuse what overrides it. */
function unlessOverridden(directive: string): Repair {
  return {
    why: "the scripts refuse what overrides their own file, and until then no up repairs anything else: delete the line where it stands, then systemctl reload ssh",
    command: `grep -ri ${directive} /etc/ssh/sshd_config /etc/ssh/sshd_config.d`,
  };
}

export const NOTHING_STOPS = "nothing stops";

/** What making a resource anew costs. What is not here costs nothing that anybody notices. */
const COSTS: Record<string, string> = {
  [RESOURCES.setup]: RUN_SCRIPTS.costs ?? "",
  [RESOURCES.network]: "network and containers are recreated: some seconds without answers",
  [RESOURCES.backend]: "the backend's container is recreated: some seconds without answers",
  [RESOURCES.dashboard]: "the dashboard's container is recreated; the backend keeps running",
  [RESOURCES.password]:
    "the role gets another password and the backend another container: some seconds without answers",
};

/** What an `up` costs: what stops, and for how long, or what is lost. */
export function costsOf({ up, refresh = [], costs }: Up): string {
  return costs ?? ([...new Set([...up, ...refresh])].flatMap((name) => COSTS[name] ?? []).join("; ") || NOTHING_STOPS);
}
