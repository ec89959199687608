import { diffArrays } from "diff";

import { json, lines } from "./facts.ts";
import { error, type Finding, type Repair, RUN_SCRIPTS, should, warning } from "./finding.ts";
import type { Difference, Inside } from "./inside.ts";
import { repairOf } from "./repairs.ts";
import type { State } from "../state.ts";
import { RESOURCES, TYPES } from "../../contract/names.ts";
import { deleteLine, deleteLinesWith } from "./edits.ts";

/** What the machine's own scripts would change, and what is on it that nobody declared. */
export function compareMachine(state: State, inside: Inside): Finding[] {
  return [
    ...inside.differences.flatMap(fromScript),
    ...listeners(state, inside),
    ...users(inside),
    ...keys(state, inside),
    ...strays(inside),
    ...packages(inside),
    ...fstab(inside),
    ...disks(inside),
  ];
}

/** Texts are compared by line; PostgreSQL's access rules are called what its own documentation calls them. */
function fromScript(difference: Difference): Finding[] {
  const { path, expected, found } = difference;
  const repair = repairOf(difference);
  const name = path.includes("/pg_hba") && path.endsWith(".content") ? "postgres.pg_hba" : path;
  if (!path.endsWith(".content") && !expected.includes("\n")) return [error(name, should(found, expected), repair)];
  let line = 1;
  return diffArrays(expected.split("\n"), found.split("\n")).flatMap((change) => {
    const first = line;
    if (!change.removed) line += change.value.length;
    if (change.added) {
      return change.value.map((value, index) => error(name, `unexpected line ${first + index} "${value}"`, repair));
    }
    return change.removed ? change.value.map((value) => error(name, `missing line "${value}"`, repair)) : [];
  });
}

/**
 * Ports that are open to more than the machine itself. SSH's is the distribution's, PostgreSQL's and the containers' are
 * declared.
 */
function listeners(state: State, inside: Inside): Finding[] {
  const gateways = state
    .all(TYPES.network)
    .flatMap(({ inputs }) => (inputs["ipamConfigs"] as { gateway: string }[]).map(({ gateway }) => `${gateway}:5432`));
  const published = state
    .all(TYPES.container)
    .flatMap(({ inputs }) =>
      (inputs["ports"] as { external: number; ip: string }[]).map(({ external, ip }) => `${ip}:${external}`),
    );
  const declared = ["0.0.0.0:22", "[::]:22", "*:22", ...gateways, ...published];
  return lines(inside, "listeners").flatMap((line) => {
    const [, , , address = "", , process = ""] = line.trim().split(/\s+/);
    if (/^(127\.|\[::1\]|\[::ffff:127\.)/.test(address) || declared.includes(address.replace(/%[^:]*/, ""))) return [];
    const who = /"([^"]+)"/.exec(process)?.[1] ?? "some process";
    return [
      warning(`listeners.${address}`, `${who} listens there, nothing is declared to`, {
        why: "end it if nobody needs it, or ignore it with --ignore",
        command: `ss -ltnp 'sport = :${address.split(":").at(-1) ?? ""}'`,
      }),
    ];
  });
}

interface User {
  name: string;
  uid: number;
  shell: string;
  password: boolean;
  groups: string[];
}

/** Only root logs in, and only by key. */
function users(inside: Inside): Finding[] {
  return (json<User[]>(inside, "users") ?? []).flatMap(({ name, uid, shell, password, groups }) => {
    const path = `users.${name}`;
    const findings: Finding[] = [];
    const remove: Repair = {
      why: "remove it if nobody needs it, or ignore it with --ignore",
      command: `userdel --remove ${name}`,
    };
    if (uid === 0 && name !== "root") {
      // Not by userdel: to that, root's processes are this one's, too.
      const strike = { why: "delete the account's lines", command: `sed -i '/^${name}:/d' /etc/passwd /etc/shadow` };
      findings.push(error(path, "has root's number 0, only root should", strike));
    }
    if (uid >= 1000 && uid < 65534 && !/\/(nologin|false)$/.test(shell)) {
      findings.push(warning(path, "can log in, only root should", remove));
    }
    if (password) {
      findings.push(
        warning(`${path}.password`, "has a password, no account should", {
          why: "lock it",
          command: `passwd --lock ${name}`,
        }),
      );
    }
    for (const group of groups) {
      findings.push(
        warning(`${path}.groups`, `is a member of ${group}, which is as good as root`, {
          why: "take it out",
          command: `gpasswd --delete ${name} ${group}`,
        }),
      );
    }
    return findings;
  });
}

/** The deploy key, and nothing else: operators' keys are in a file of their own, which the scripts keep. */
function keys(state: State, inside: Inside): Finding[] {
  const deployKey = String(state.get(TYPES.key, RESOURCES.deployKey).outputs["publicKeyOpenssh"]);
  const body = (key: string) => key.trim().split(/\s+/)[1] ?? "";
  const findings: Finding[] = [];
  let admitted = 0;
  for (const { path, content } of json<{ path: string; content: string }[]>(inside, "authorized_keys") ?? []) {
    content.split("\n").forEach((line, index) => {
      if (line.trim() === "" || line.trim().startsWith("#")) return;
      if (path.startsWith("/root/") && line.includes(body(deployKey)) && line.trim().startsWith("ssh-ed25519 ")) {
        admitted += 1;
        return;
      }
      findings.push(
        error(`authorized_keys[${path}]`, `unexpected line ${index + 1} "${shortened(line)}"`, {
          why: "remove it, or declare it in operatorKeys",
          command: deleteLine(line, path),
        }),
      );
    });
  }
  if (admitted === 0) {
    findings.push(
      warning("authorized_keys[/root/.ssh/authorized_keys]", "the deploy key is not in it, it should be", {
        why: "put it back; the key is that of npx pulumi stack output sshPrivateKey",
      }),
    );
  }
  return findings;
}

/** Enough of a key to know it by: its type and its comment. */
function shortened(key: string): string {
  return key.replace(/([A-Za-z0-9+/]{12})[A-Za-z0-9+/=]{20,}/, "$1…");
}

/** Files where only this program and the distribution's packages put any, and units that failed. */
function strays(inside: Inside): Finding[] {
  const found = ([fact, path]: [string, string], find: typeof error, what: string, command: (name: string) => string) =>
    lines(inside, fact)
      .map((line) => line.trim())
      .filter((name) => !CLOUDS_OWN.test(name))
      .map((name) =>
        find(`${path}[${name}]`, what, {
          why: "look at it; fix or remove it, or ignore it with --ignore",
          command: command(name),
        }),
      );
  const kinds: [fact: string, path: string][] = [
    ["units.unowned", "units"],
    ["cron", "cron"],
    ["sudoers", "sudoers"],
    ["sshd.files", "sshd.files"],
    ["postgres.files", "postgres.files"],
    ["files", "files"],
  ];
  return [
    ...found(["units.failed", "units"], error, "has failed", (name) => `journalctl -u ${name} -n 50`),
    ...kinds.flatMap((kind) =>
      found(kind, warning, kind[0] === "files" ? WRITTEN : UNEXPECTED, (name) => {
        const pristine = PRISTINE[name];
        return pristine === undefined ? `cat ${name}` : `cp ${pristine} ${name}`;
      }),
    ),
  ];
}

/** Also of a file that came with the image and was changed since. */
const WRITTEN = "was written by neither this program nor a package, nothing should have";

/** What the distribution made of these, once. */
const PRISTINE: Record<string, string> = {
  "/etc/ssh/sshd_config": "/usr/share/openssh/sshd_config",
  "/etc/nsswitch.conf": "/usr/share/libc-bin/nsswitch.conf",
};

const UNEXPECTED = "is neither this program's nor a package's, it should not be here";

/** What cloud-init, DigitalOcean's agents and Ubuntu's snaps write outside of packages. */
const CLOUDS_OWN =
  /(^|\/)(10-netplan\.conf|netplan-[^/]*\.service|90-cloud-init-users|50-cloud-init|50-cloud-init\.yaml|digitalocean-agent[^/]*|50-cloud-init\.conf|60-cloudimg-settings\.conf|droplet-agent[^/]*|do-agent[^/]*|snap[.-][^/]*|README)$/;

/** Of the images and their agents. */
const DISTRIBUTORS = /^https?:\/\/([^/]+\.)?(debian\.org|ubuntu\.com|digitalocean\.com)(\/|$)/;

/** Its own configuration too, which a package would otherwise keep as it is. */
function reinstall(file: string): string {
  const options = ["confask", "confnew", "confmiss"].map((option) => `-o Dpkg::Options::=--force-${option}`).join(" ");
  // Where folders of old are links, a package may know the file by them.
  const owner = `$(dpkg-query --search ${file} ${file.replace(/^\/usr/, "")} 2> /dev/null | cut -d : -f 1 | head -n 1)`;
  return `export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && apt-get install -qq --reinstall -y ${options} ${owner} < /dev/null`;
}

function packages(inside: Inside): Finding[] {
  return [
    ...lines(inside, "packages.changed").map((file) =>
      warning(`files[${file}]`, "is not as its package brought it, it should be", {
        why: "bring it back",
        command: reinstall(file),
      }),
    ),
    ...lines(inside, "packages.sources").flatMap((line) => {
      const [, file = "", site = ""] = /^(.+?):\d+:(.*)$/.exec(line) ?? [];
      if (DISTRIBUTORS.test(site)) return [];
      return [
        error(`packages.sources[${file}]`, `has packages come from ${site}, nothing declares it`, {
          why: "remove it if nobody needs it, or ignore it with --ignore",
          command: file.endsWith("/sources.list") ? deleteLinesWith(site, file) : `rm ${file}`,
        }),
      ];
    }),
    ...lines(inside, "packages.held").map((name) =>
      warning(`packages.${name}`, "is held back, so it gets no security updates", {
        why: "let it go",
        command: `apt-mark unhold ${name}`,
      }),
    ),
    ...lines(inside, "packages.broken")
      .slice(0, 1)
      .map((line) => error("packages", `dpkg finds some half installed: ${line.trim()}`, RUN_SCRIPTS)),
  ];
}

/** The volume is mounted by a unit; a line of its own here would mount it without the guard, or stop the boot. */
function fstab(inside: Inside): Finding[] {
  return lines(inside, "fstab")
    .filter((line) => !line.trim().startsWith("#"))
    .filter((line) => !/^(\/|\/boot.*|none|swap|\/dev\/shm|\/proc)$/.test(line.trim().split(/\s+/)[1] ?? ""))
    .map((line) =>
      warning("fstab", `unexpected line "${line.trim().replaceAll(/\s+/g, " ")}"`, {
        why: "remove it: the data volume is mounted by convex-volume.service; or ignore it with --ignore",
      }),
    );
}

const ALMOST_FULL_PERCENT = 90;

function disks(inside: Inside): Finding[] {
  return lines(inside, "disk").flatMap((line) => {
    const [place = "", bytes = "0", inodes = "0"] = line.trim().split(/\s+/);
    const used = Math.max(Number.parseInt(bytes, 10) || 0, Number.parseInt(inodes, 10) || 0);
    if (used < ALMOST_FULL_PERCENT) return [];
    const why = place === "/" ? "find what fills it" : "grow it with volumeSizeGb, or find what fills it";
    return [
      warning(`disk[${place}]`, `is ${used} % full`, {
        why,
        command: `du -xh --max-depth 2 ${place} | sort -h | tail`,
      }),
    ];
  });
}
