import type { State } from "../../state.ts";
import { rebootTime } from "../expected.ts";
import { json } from "../facts.ts";
import { type Finding, findingsBy } from "../finding.ts";
import type { Inside } from "../inside.ts";

const DAY = 24 * 60 * 60;

/** The fact that machine/host/facts.sh describes. Times are in seconds. */
interface Updates {
  now: number;
  lists: number | null;
  installed: number | null;
  since: number;
  cause: string;
  reboot: number | null;
  packages: string[];
}

/** Whether the distribution's updates are installed every day, and whether one of them waits for a reboot. */
export function compareUpdates(state: State, inside: Inside): Finding[] {
  const updates = json<Updates>(inside, "updates");
  return updates === undefined ? [] : [...late(updates), ...waiting(rebootTime(state), updates)];
}

const { warning, notice } = findingsBy("updates", "host");

/** The timer runs once a day, and soon after a boot if it has missed a run. */
function late({ now, lists, installed, since, cause }: Updates): Finding[] {
  const last = lists === null || installed === null ? undefined : Math.min(lists, installed);
  const age = now - (last ?? since);
  if (age < 3 * DAY || now - since < DAY) return [];
  const found = last === undefined ? "never" : `${days(age)} ago`;
  const reason = cause === "" ? "" : `; the last error is: ${cause}`;
  const message = `security updates were last installed: ${found}, they should be installed every day${reason}`;
  const why = "install them; if that fails, fix the cause that the log shows";
  const command =
    "systemctl start apt-daily && systemctl start apt-daily-upgrade; tail -n 20 /var/log/unattended-upgrades/unattended-upgrades.log";
  return [warning("updates", { expected: "every day", found, message }, { why, command })];
}

/** With a time, the reboot comes within a day of the update. */
function waiting(time: string, { now, reboot, packages }: Updates): Finding[] {
  if (reboot === null) return [];
  const age = now - reboot;
  const update = `an update${packages.length === 0 ? "" : ` of ${packages.join(", ")}`} has waited for a reboot`;
  const repair = { why: "reboot the droplet, with about a minute without answers", command: "systemctl reboot" };
  if (time === "never") {
    const message = `${update} for ${days(age)}, because rebootTime is never`;
    return [notice(["updates", "reboot"], { found: "required", message }, repair)];
  }
  if (age < 2 * DAY) return [];
  const message = `${update} for ${days(age)}, it should have been at ${time} UTC`;
  return [warning(["updates", "reboot"], { expected: "done", found: "required", message }, repair)];
}

function days(age: number): string {
  const count = Math.floor(age / DAY);
  if (count === 0) return "less than a day";
  return count === 1 ? "1 day" : `${count} days`;
}
