import { diffArrays } from "diff";

import { MOUNTPOINT, RESOURCES } from "../../contract/names.ts";
import { SCRIPTS } from "../../contract/scripts.ts";
import { type Finding, findingsBy } from "./finding.ts";
import type { Difference } from "./inside.ts";
import { type Repair, RUN_BOTH, RUN_HOST, RUN_POSTGRES } from "./repair.ts";

/** The subjects of data that is not on the volume. */
export const OFF_VOLUME = "volume.on[";

/** What a script in check mode would change. Texts are compared by line. */
export function fromScript(difference: Difference): Finding[] {
  const { script, area, property, expected, found } = difference;
  const { error } = findingsBy(script, area);
  const repair = repairOf(difference);
  const isText = property === "content";
  // PostgreSQL's access rules are called what its own documentation calls them.
  const subject = isText && difference.subject.includes("/pg_hba") ? "postgres.pg_hba" : difference.subject;
  const where = property === "" || subject === "postgres.pg_hba" ? subject : ([subject, property] as const);
  if (!isText && !expected.includes("\n")) return [error(where, { expected, found }, repair)];
  let line = 1;
  return diffArrays(expected.split("\n"), found.split("\n")).flatMap((change) => {
    const first = line;
    if (!change.removed) line += change.value.length;
    if (change.added) {
      return change.value.map((value, index) =>
        error(where, { found: value, message: `unexpected line ${first + index} "${value}"` }, repair),
      );
    }
    if (!change.removed) return [];
    return change.value.map((value) => error(where, { expected: value, message: `missing line "${value}"` }, repair));
  });
}

/** The scripts repair most of what they find themselves; what they refuse to change, a person has to. */
export function repairOf({ script, area, subject, property, expected, found }: Difference): Repair {
  if (subject.startsWith(OFF_VOLUME)) return bringBack(subject.slice(OFF_VOLUME.length, -1), found);
  if (subject.startsWith(`files[${SCRIPTS}/`))
    return copyScripts(subject.slice("files[".length, -1), property, expected);
  if (subject === "links[/opt/convex]" && found !== "nothing") return { why: LINK, command: MOVE_LINK };
  if (subject === "sshd") return unlessOverridden(property);
  // PostgreSQL stands on the volume, and on nothing else of the host.
  if (area === "volume" || `${subject}.${property}` === "postgres.volume") return RUN_BOTH;
  return script === "postgres.sh" ? RUN_POSTGRES : RUN_HOST;
}

/** Data that is elsewhere. What uses it has to be stopped meanwhile, and started on what is below. */
function bringBack(path: string, found: string): Repair {
  const stop = "systemctl stop docker.socket docker postgresql";
  const start = "systemctl start postgresql docker";
  const why =
    "what was written there is not on the volume: keep what is wanted of it. Then, for some seconds of downtime";
  return found.startsWith("a mount")
    ? { why, command: `${stop} && umount ${path} && ${start}` }
    : { why: `${why}, put a folder in the link's place and what is to be in it`, command: stop };
}

/** Scripts run as root, so a changed one is never run to repair itself. */
function copyScripts(file: string, property: string, expected: string): Repair {
  if (property === "mode") {
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

/** Only a person can tell where the server reads a directive: the scripts write their own file and refuse what overrides it. */
function unlessOverridden(directive: string): Repair {
  return {
    why: "the scripts refuse what overrides their own file, and until then no up repairs anything else: delete the line where it stands, then systemctl reload ssh",
    command: `grep -ri ${directive} /etc/ssh/sshd_config /etc/ssh/sshd_config.d`,
  };
}
