import { diffArrays } from "diff";

import { MOUNTPOINT, RESOURCES } from "../../contract/names.ts";
import { SCRIPTS } from "../../contract/scripts.ts";
import { CHECKED } from "./expected.ts";
import { type Finding, findingsBy } from "./finding.ts";
import type { Difference } from "./inside.ts";
import { ATTACH, refresh, type Repair, RUN_BOTH } from "./repair.ts";
import { shell } from "./shell.ts";

/** The start of the subjects of data that is not on the volume. */
export const OFF_VOLUME = "volume.on[";

/** What a script in check mode would change. Texts are compared by line. */
export function fromScript(difference: Difference): Finding[] {
  const { script, area, property, expected, found } = difference;
  const { error } = findingsBy(script, area);
  const repair = repairOf(difference);
  const isText = property === "content";
  // PostgreSQL's access rules have the name from its documentation.
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

/** The scripts repair most of what they find themselves. What they refuse to change, a person has to repair. */
export function repairOf({ script, area, subject, property, expected, found }: Difference): Repair {
  if (subject.startsWith(OFF_VOLUME)) return bringBack(subject.slice(OFF_VOLUME.length, -1), found);
  if (isScript(subject)) return copyScripts(subject.slice("files[".length, -1), property, expected);
  if (subject === "links[/opt/convex]" && found !== "nothing") return { why: LINK, command: MOVE_LINK };
  if (subject === "sshd") return unlessOverridden(property);
  if (`${subject}.${property}` === "volume.device") return ATTACH;
  // PostgreSQL depends on the volume, and on nothing else of the host.
  if (area === "volume" || `${subject}.${property}` === "postgres.volume") return RUN_BOTH;
  if (`${subject}.${property}` === "edge.volume") return { up: [RESOURCES.setup, RESOURCES.edge] };
  if (area === "apps" && property === "health")
    return { why: "see why in the log of its container, which docker ps lists" };
  if (script === "managed.sh" && property === "connection") return letIn(found);
  const resource = CHECKED[script.replace(/\.sh$/, "")];
  return resource === undefined ? RUN_BOTH : { up: [resource] };
}

/** To set up the client again would only wait for a managed database whose other side was changed. */
function letIn(found: string): Repair {
  if (found.includes("does not accept"))
    return refresh(RESOURCES.cluster, "the droplet gets the administrator's new password: nothing stops");
  if (found.includes("does not answer"))
    return refresh(RESOURCES.clusterFirewall, "the database again admits only the droplet: nothing else stops");
  return { up: [RESOURCES.databaseClient] };
}

/** Whether a subject is one of the scripts on the droplet, or their folder. */
export function isScript(subject: string): boolean {
  return subject === `files[${SCRIPTS}]` || subject.startsWith(`files[${SCRIPTS}/`);
}

/** Data that is elsewhere. Its users have to be stopped first, and then started on the volume's own folder. */
function bringBack(path: string, found: string): Repair {
  const stop = "systemctl stop docker.socket docker postgresql";
  const start = "systemctl start postgresql docker";
  const why =
    "data that was written there is not on the volume: copy what you need. Then, with some seconds of downtime";
  return found.startsWith("a mount")
    ? { why, command: `${stop} && ${shell`umount ${path}`} && ${start}` }
    : { why: `${why}, replace the link with a folder that contains the data`, command: stop };
}

/** Scripts run as root, so a changed script never runs to repair itself. */
function copyScripts(file: string, property: string, expected: string): Repair {
  if (property === "mode") {
    return {
      why: "make it root's again, and check its content",
      command: shell`chown root:root ${file} && chmod go-w ${file}`,
    };
  }
  if (expected === "nothing")
    return { why: "it is not a script of this program: check it, and remove it", command: shell`rm ${file}` };
  return { up: [RESOURCES.scripts] };
}

const LINK =
  "the scripts cannot create the link while something else is there, and stop: until you move it, no up repairs anything else";
const MOVE_LINK = `mv --no-target-directory /opt/convex /opt/convex.before && ln -s ${MOUNTPOINT} /opt/convex`;

/** A person has to find the line: the scripts write only their own file, and stop if something overrides it. */
function unlessOverridden(directive: string): Repair {
  return {
    why: "something overrides the scripts' own file, so they stop, and no up repairs anything else: find and delete the line, then systemctl reload ssh",
    command: `grep -ri ${directive} /etc/ssh/sshd_config /etc/ssh/sshd_config.d`,
  };
}
