import { lines } from "../facts.ts";
import { type Finding, findingsBy, undeclared } from "../finding.ts";
import type { Inside } from "../inside.ts";
import { shell } from "../shell.ts";

/** Finds files in folders that only this program and packages should write to, failed units, and lines of /etc/fstab. */
export function compareFiles(inside: Inside): Finding[] {
  return [...failedUnits(inside), ...STRAYS.flatMap((kind) => strays(inside, ...kind)), ...fstab(inside)];
}

const WHY = "check it; fix or remove it, or ignore it with driftIgnore";

function failedUnits(inside: Inside): Finding[] {
  const { error } = findingsBy("units.failed", "host");
  return names(inside, "units.failed").map((name) =>
    error(
      `units[${name}]`,
      { expected: "not failed", found: "failed", message: "has failed" },
      { why: WHY, command: shell`journalctl -u ${name} -n 50` },
    ),
  );
}

const UNEXPECTED = "belongs to neither this program nor a package, it should not be here";
/** Also for a file that came with the image and was changed since. */
const WRITTEN = "was written by neither this program nor a package, it should not be";

/** The facts that list these files, the subject of their findings, and the message. */
const STRAYS: [fact: string, subject: string, message: string][] = [
  ["units.unowned", "units", UNEXPECTED],
  ["cron", "cron", UNEXPECTED],
  ["sudoers", "sudoers", UNEXPECTED],
  ["sshd.files", "sshd.files", UNEXPECTED],
  ["postgres.files", "postgres.files", UNEXPECTED],
  ["files", "files", WRITTEN],
];

/** The distribution's own copies of files that it writes only once. */
const PRISTINE: Record<string, string> = {
  "/etc/ssh/sshd_config": "/usr/share/openssh/sshd_config",
  "/etc/nsswitch.conf": "/usr/share/libc-bin/nsswitch.conf",
};

function strays(inside: Inside, fact: string, subject: string, message: string): Finding[] {
  const { warning } = findingsBy(fact, fact.startsWith("postgres.") ? "postgres" : "host");
  return names(inside, fact).map((name) => {
    const pristine = PRISTINE[name];
    const command = pristine === undefined ? shell`cat ${name}` : shell`cp ${pristine} ${name}`;
    return warning(`${subject}[${name}]`, undeclared(message), { why: WHY, command });
  });
}

/** Files that cloud-init, DigitalOcean's agents and Ubuntu's snaps write outside of packages. */
const CLOUDS_OWN =
  /(^|\/)(10-netplan\.conf|netplan-[^/]*\.service|90-cloud-init-users|50-cloud-init|50-cloud-init\.yaml|digitalocean-agent[^/]*|50-cloud-init\.conf|60-cloudimg-settings\.conf|droplet-agent[^/]*|do-agent[^/]*|snap[.-][^/]*|README)$/;

function names(inside: Inside, fact: string): string[] {
  return lines(inside, fact)
    .map((line) => line.trim())
    .filter((name) => !CLOUDS_OWN.test(name));
}

/** A unit mounts the volume; a line here would mount it without the guard, or stop the boot. */
function fstab(inside: Inside): Finding[] {
  const { warning } = findingsBy("fstab", "host");
  return lines(inside, "fstab")
    .filter((line) => !line.trim().startsWith("#"))
    .filter((line) => !/^(\/|\/boot.*|none|swap|\/dev\/shm|\/proc)$/.test(line.trim().split(/\s+/)[1] ?? ""))
    .map((line) => line.trim().replaceAll(/\s+/g, " "))
    .map((line) =>
      warning("fstab", undeclared(`unexpected line "${line}"`, line), {
        why: "remove it: the data volume is mounted by convex-volume.service; or ignore it with driftIgnore",
      }),
    );
}
