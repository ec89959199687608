import { createHash } from "node:crypto";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { CONTAINERS } from "../../contract/names.ts";
import { namedValues } from "../../contract/scripts.ts";
import type { Difference, Inside } from "../../operations/findings/inside.ts";
import { type Lab, openLab } from "./droplet-harness.ts";
import { hostValues, Machine, postgresValues, SCRIPTS } from "./machine-harness.ts";
import { Inspector } from "./machine-inspection.ts";

const ADMINISTRATOR = "administrators-password";
const SECRET = "0123456789abcdef";

let lab: Lab;
let machine: Machine;
let inspector: Inspector;

const sql = (...statements: string[]) =>
  `runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 -d postgres ${statements.map((text) => `-c "${text}"`).join(" ")}`;

beforeAll(async () => {
  lab = await openLab();
  await lab.room.createVolume({ id: "11111111", name: "data", sizeGigabytes: 100 });
  machine = await Machine.create(lab, { ...lab.spec(1), volumeIds: ["11111111"] });
  await setUp();
  await machine.sh(`cd / && ${sql("CREATE ROLE convex LOGIN PASSWORD 'roles-password'")}
    ${sql("CREATE DATABASE convex_self_hosted OWNER convex")}
    docker network create --subnet 172.30.0.0/24 --gateway 172.30.0.1 convex
    install -D -m 0600 <(echo ${SECRET}) /mnt/convex/data/credentials/instance_secret`);
  await startBackend();
  inspector = await Inspector.create(machine, {
    host: hostValues(),
    postgres: postgresValues(ADMINISTRATOR),
    backend: namedValues({
      ...{ container: CONTAINERS.backend, api_port: 3210, site_port: 3211, dashboard_port: 6791 },
      ...{ key: "convex|admin", read_only_key: "convex|reader" },
      role_url: "postgresql://convex:roles-password@host.docker.internal:5432",
    }),
  });
});
afterAll(() => lab[Symbol.asyncDispose]());

async function setUp(): Promise<void> {
  expect(await machine.run("host/host.sh", hostValues())).toMatchObject({ exitCode: 0 });
  expect(await machine.run("postgres/postgres.sh", postgresValues(ADMINISTRATOR))).toMatchObject({ exitCode: 0 });
}

/** Starts a server that answers the inspection's requests as a backend does: with the path, or with a key's rights. */
function startBackend(): Promise<string> {
  const server = `
import json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Backend(BaseHTTPRequestHandler):
    def do_GET(self):
        key = self.headers.get("Authorization", "")
        known = key in ("Convex convex|admin", "Convex convex|reader")
        answers = {
            "/version": "unknown",
            "/instance_name": "convex-self-hosted",
            "/api/check_admin_key": json.dumps({"isReadOnly": key.endswith("reader")}) if known else None,
            "/api/v1/get_canonical_urls": json.dumps({"convexCloudUrl": "https://api"}) if known else None,
            "/api/list_environment_variables": json.dumps({"environmentVariables": {"TOKEN": "a\\nb"}}) if known else None,
        }
        answer = answers.get(self.path, "at " + self.path)
        self.send_response(401 if answer is None else 200)
        self.end_headers()
        self.wfile.write((answer or "refused").encode())
for port in (3210, 3211, 6791):
    threading.Thread(target=ThreadingHTTPServer(("127.0.0.1", port), Backend).serve_forever).start()
`;
  const encoded = Buffer.from(server).toString("base64");
  return machine.sh(`base64 -d <<< ${encoded} > /root/backend.py
    systemd-run --quiet --unit stand-in python3 /root/backend.py
    until curl -fs -o /dev/null http://127.0.0.1:6791/; do sleep 0.1; done`);
}

/** Everything that an inspection must not change. */
function fingerprint(): Promise<string> {
  return machine.sh(
    [
      "find /etc /usr/local /opt /root /home /tmp /var/tmp /var/lib/dpkg /mnt/convex/data /var/spool -printf '%p %m %u %g %i %T@ %C@ %l\\n' | sort",
      "find /run -maxdepth 2 -path '*convex*' -printf '%p %m %T@ %C@\\n' | sort",
      "find /mnt/convex/postgresql -maxdepth 3 -name '*.conf' -printf '%p %T@ %C@\\n' | sort",
      // Without a container's mounts, of whose end systemd learns only after Docker has stopped, and without the columns' width, which
      // follows the longest name.
      "systemctl list-units --all --plain --no-legend | awk '!/^session-|^user|\\.device|^(run|var-lib)-docker-/ { print $1, $2, $3, $4 }'",
      "systemctl show --property Id,MainPID,ActiveEnterTimestampMonotonic,UnitFileState,NeedDaemonReload,DropInPaths ssh docker postgresql@17-main 'convex-*'",
      "findmnt --noheadings --list --output TARGET,SOURCE,OPTIONS | grep -v '/run/user'",
      "nft --stateless list ruleset; sysctl -a 2> /dev/null | grep '^net.ipv4.ip_nonlocal'",
      `if systemctl is-active --quiet postgresql@17-main; then cd / && ${sql("SELECT pg_conf_load_time(), pg_postmaster_start_time()", "SELECT rolname, rolpassword, rolsuper FROM pg_authid ORDER BY 1")}; fi`,
    ].join("; "),
  );
}

const content = (path: string) => machine.sh(`cat ${path}; echo .`).then((text) => text.slice(0, -1));

describe("on a machine that is set up", () => {
  let inspection: Inside;

  beforeAll(async () => {
    inspection = await inspector.inspect();
  });

  const fact = (name: string) => inspection.facts.get(name)?.text;
  const json = (name: string) => JSON.parse(fact(name) ?? "") as unknown;

  it("no difference is reported, and every fact is collected", () => {
    expect(inspection.differences).toEqual([]);
    expect([...inspection.facts].filter(([, { exitCode }]) => exitCode !== 0)).toEqual([]);
    expect(["check.host", "check.postgres", "check.scripts"].map(fact)).toEqual(["", "", ""]);
  });

  it("no file is reported as a stray", () => {
    const strays = ["units.unowned", "cron", "sudoers", "sshd.files", "postgres.files", "units.failed", "files"];
    expect(Object.fromEntries(strays.map((name) => [name, fact(name)?.trim()]))).toEqual(
      Object.fromEntries(strays.map((name) => [name, ""])),
    );
  });

  it("the server's roles, databases, rules and settings are reported", () => {
    expect(json("postgres.roles")).toMatchObject([
      { name: "convex", superuser: false, login: true, scram: true, member_of: [] },
      { name: "convex_admin", superuser: true, login: true, scram: true },
      { name: "postgres", superuser: true, scram: false },
    ]);
    expect(json("postgres.databases")).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ name: "convex_self_hosted", owner: "convex", encoding: "UTF8", collate: "C.UTF-8" }),
      ]),
    );
    expect(json("postgres.hba")).toContainEqual(
      expect.objectContaining({
        file_name: "/etc/postgresql/17/main/pg_hba.d/10-convex-droplet.conf",
        line_number: 4,
        line: 'hostssl "convex_self_hosted"  "convex"  172.30.0.0/24      scram-sha-256',
        error: null,
      }),
    );
    expect(json("postgres.settings")).toContainEqual(
      expect.objectContaining({
        name: "max_connections",
        setting: "84",
        sourcefile: "/etc/postgresql/17/main/conf.d/10-convex-droplet.conf",
        pending_restart: false,
      }),
    );
    const [loaded = 0, changed = 0] = (fact("postgres.loaded") ?? "").split(" ").map(Number);
    expect(loaded).toBeGreaterThan(changed);
    expect([fact("postgres.grants"), fact("postgres.role_settings")]).toEqual(["", ""]);
  });

  it("the backend is queried with the keys, and no secret is reported", () => {
    expect([fact("backend.version"), fact("backend.site"), fact("backend.dashboard")]).toEqual([
      "unknown",
      "at /",
      "at /",
    ]);
    expect(fact("backend.instance_name")).toBe("convex-self-hosted");
    expect(fact("backend.admin_key")).toBe('200\n{"isReadOnly": false}\n');
    expect(fact("backend.read_only_key")).toBe('200\n{"isReadOnly": true}\n');
    expect(json("backend.canonical_urls")).toEqual({ convexCloudUrl: "https://api" });
    const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
    expect(json("functions.environment")).toEqual({ TOKEN: sha256("a\nb") });
    expect(fact("backend.instance_secret")).toBe(`${sha256(SECRET)}\n`);
    const all = JSON.stringify([...inspection.facts]);
    for (const secret of [SECRET, "roles-password", "administrators-password", "convex|admin", "SCRAM-SHA-256$"]) {
      expect(all).not.toContain(secret);
    }
  });

  it("users, keys, listeners and Docker's objects are reported", () => {
    expect(json("users")).toEqual(
      expect.arrayContaining([{ name: "root", uid: 0, shell: "/bin/bash", password: false, groups: [] }]),
    );
    expect(json("authorized_keys")).toEqual([
      { path: "/root/.ssh/authorized_keys", content: expect.stringContaining("ssh-ed25519 ") as unknown },
    ]);
    expect(fact("listeners")).toMatch(/ 172\.30\.0\.1:5432 .*"postgres"/);
    expect(json("docker.networks")).toContainEqual(expect.objectContaining({ Name: "convex" }));
    expect(json("docker.containers")).toEqual([]);
    expect(fact("run")).toBe("none\n");
  });

  it("an inspection changes nothing and leaves nothing behind", async () => {
    const before = await fingerprint();
    await inspector.inspect();
    expect(await fingerprint()).toBe(before);
  });
});

const pathOf = ({ subject, property }: Difference) => (property === "" ? subject : `${subject}.${property}`);

const SSHD = "/etc/ssh/sshd_config.d/10-convex-droplet.conf";
const CONFIGURATION = "/etc/postgresql/17/main";
const DROP_IN = "/etc/systemd/system/docker.service.d";

interface Tampering {
  /** Shell commands that make the change. */
  by: string;
  /** The one difference that is then found; a function gets the file's content from before the change. */
  path: string;
  expected: string | ((before: string) => string);
  found: string | ((before: string) => string);
  /** The file whose content the two functions get. */
  file?: string;
  /** Shell commands that fix it, if the scripts leave it to a person; otherwise the scripts fix it. */
  mend?: string;
}

const file = (path: string, by: string, found: (before: string) => string): Tampering => ({
  by,
  path: `files[${path}].content`,
  expected: (before) => before,
  found,
  file: path,
});

const TAMPERINGS: Tampering[] = [
  file(SSHD, `echo 'Banner /etc/shadow' >> ${SSHD}`, (before) => `${before}Banner /etc/shadow\n`),
  file(SSHD, `printf 'X11Forwarding no\\n\\0more' >> ${SSHD}`, (before) => `${before}X11Forwarding no\n\u0001more`),
  file("/etc/docker/daemon.json", "echo '{}' > /etc/docker/daemon.json", () => "{}\n"),
  file(
    `${CONFIGURATION}/pg_hba.d/10-convex-droplet.conf`,
    `echo 'host all all 0.0.0.0/0 trust' >> ${CONFIGURATION}/pg_hba.d/10-convex-droplet.conf`,
    (before) => `${before}host all all 0.0.0.0/0 trust\n`,
  ),
  file(`${CONFIGURATION}/start.conf`, `echo manual > ${CONFIGURATION}/start.conf`, () => "manual\n"),
  {
    ...file(
      `${SCRIPTS}/host/volume.sh`,
      `echo 'curl evil' >> ${SCRIPTS}/host/volume.sh`,
      (before) => `${before}curl evil\n`,
    ),
    // The program copies the scripts; they do not copy themselves.
    mend: `cp /root/pristine-scripts/host/volume.sh ${SCRIPTS}/host/volume.sh`,
  },
  {
    by: `install -m 0600 /dev/null ${SCRIPTS}/extra.sh`,
    path: `files[${SCRIPTS}/extra.sh]`,
    expected: "nothing",
    found: "file",
    mend: `rm ${SCRIPTS}/extra.sh`,
  },
  {
    by: `echo >> ${CONFIGURATION}/server.key`,
    path: `files[${CONFIGURATION}/server.key].hash`,
    expected: expect.stringMatching(/^[0-9a-f]{64}  -$/) as string,
    found: expect.stringMatching(/^[0-9a-f]{64}  -$/) as string,
  },
  {
    by: `chmod o+r ${CONFIGURATION}/server.key`,
    path: `files[${CONFIGURATION}/server.key].mode`,
    expected: "640",
    found: "644",
  },
  {
    by: "chmod 0666 /etc/docker/daemon.json",
    path: "files[/etc/docker/daemon.json].mode",
    expected: "644",
    found: "666",
  },
  {
    by: "chown nobody /etc/convex-droplet/volume.env",
    path: "files[/etc/convex-droplet/volume.env].owner",
    expected: "root:root",
    found: "nobody:root",
  },
  { by: "rm /etc/ssh/convex_operators", path: "files[/etc/ssh/convex_operators]", expected: "file", found: "nothing" },
  {
    by: "mv /etc/ssh/convex_operators /root/keys && ln -s /root/keys /etc/ssh/convex_operators",
    path: "files[/etc/ssh/convex_operators]",
    expected: "file",
    found: "link",
  },
  { by: "rm /opt/convex", path: "links[/opt/convex]", expected: "/mnt/convex", found: "nothing" },
  { by: "chmod 0777 /mnt/convex/data", path: "folders[/mnt/convex/data].mode", expected: "755", found: "777" },
  {
    by: "chmod 0750 /mnt/convex/postgresql/17/main",
    path: "folders[/mnt/convex/postgresql/17/main].mode",
    expected: "700",
    found: "750",
  },
  {
    // For this setting, the last file wins.
    by: "echo 'MaxStartups 1' > /etc/ssh/sshd_config.d/99-other.conf",
    path: "sshd.maxstartups",
    expected: "60:30:100",
    found: "1:30:1",
    mend: "rm /etc/ssh/sshd_config.d/99-other.conf",
  },
  {
    by: "sysctl -qw net.ipv4.ip_nonlocal_bind=0",
    path: "sysctl.net.ipv4.ip_nonlocal_bind",
    expected: "1",
    found: "0",
  },
  {
    by: "nft delete table inet convex_metadata",
    path: "nft[inet convex_metadata]",
    expected: expect.stringContaining("ip daddr 169.254.169.254 drop") as string,
    found: "",
  },
  {
    by: "mount -o remount,hidepid=off /proc",
    path: "proc.hidepid",
    expected: "invisible",
    found: "",
  },
  {
    by: "systemctl disable --quiet convex-volume.service",
    path: "units.convex-volume.service.enabled",
    expected: "enabled",
    found: "disabled",
  },
  {
    by: "systemctl mask --quiet postgresql.service",
    path: "units.postgresql.service.enabled",
    expected: "enabled",
    found: "masked",
  },
  {
    by: "systemctl stop convex-hide-processes.service",
    path: "units.convex-hide-processes.service.active",
    expected: "active",
    found: "inactive",
  },
  {
    by: "systemctl stop docker.socket docker.service",
    path: "units.docker.service.active",
    expected: "active",
    found: "inactive",
  },
  {
    by: "systemctl stop postgresql@17-main.service",
    path: "units.postgresql@17-main.service.active",
    expected: "active",
    found: "inactive",
  },
  {
    by: `printf '[Service]\\nNice=5\\n' > ${DROP_IN}/50-nice.conf && systemctl daemon-reload`,
    path: "units.docker.service.drop-ins",
    expected: `${DROP_IN}/convex-restarts.conf\n${DROP_IN}/convex-volume.conf`,
    found: `${DROP_IN}/50-nice.conf\n${DROP_IN}/convex-restarts.conf\n${DROP_IN}/convex-volume.conf`,
    mend: `rm ${DROP_IN}/50-nice.conf && systemctl daemon-reload`,
  },
  {
    by: "touch /etc/systemd/system/convex-volume.service",
    path: "units.convex-volume.service.needs-reload",
    expected: "no",
    found: "yes",
  },
  {
    by: "install -D /dev/null /run/convex-droplet/sshd",
    path: "readers.sshd",
    expected: "running with its current files",
    found: "running with old files",
  },
  {
    by: `sed -i s/json-file/local/ /etc/docker/daemon.json && systemctl restart docker && sed -i s/local/json-file/ /etc/docker/daemon.json`,
    path: "docker.log-driver",
    expected: "json-file",
    found: "local",
  },
  {
    by: "mount -o remount,relatime,noexec /dev/sda /mnt/convex",
    path: "volume.mount.options",
    expected: "rw,noatime,discard",
    found: "rw,noexec,relatime,discard",
  },
  {
    by: "mkdir -m 0755 -p /srv/fake && mount --bind /srv/fake /mnt/convex/data",
    path: "volume.on[/mnt/convex/data]",
    expected: "on the volume itself",
    found: expect.stringMatching(/^a mount of .*\[\/srv\/fake\]$/) as string,
    mend: "umount /mnt/convex/data",
  },
  {
    by: "mkdir /mnt/convex/data/storage && mount -t tmpfs none /mnt/convex/data/storage",
    path: "volume.on[/mnt/convex/data/storage]",
    expected: "on the volume itself",
    found: "a mount of none",
    mend: "umount /mnt/convex/data/storage",
  },
  {
    by: "rm -r /mnt/convex/data/storage && ln -s /srv /mnt/convex/data/storage",
    path: "volume.on[/mnt/convex/data/storage]",
    expected: "on the volume itself",
    found: "a link to /srv",
    mend: "rm /mnt/convex/data/storage",
  },
  {
    by: "cd /mnt/convex/postgresql/17/main && mv pg_wal /var/lib/postgresql/ && ln -s /var/lib/postgresql/pg_wal .",
    path: "volume.on[/mnt/convex/postgresql/17/main/pg_wal]",
    expected: "on the volume itself",
    found: "a link to /var/lib/postgresql/pg_wal",
    mend: "cd /mnt/convex/postgresql/17/main && rm pg_wal && mv /var/lib/postgresql/pg_wal .",
  },
  {
    by: "unshare --mount sh -c 'umount --lazy /mnt/convex && chattr -i /mnt/convex'",
    path: "volume.mountpoint",
    expected: "immutable",
    found: "mutable",
  },
  {
    by: sql("ALTER SYSTEM SET password_encryption = 'md5'", "SELECT pg_reload_conf()"),
    path: "postgres.settings.password_encryption",
    expected: "scram-sha-256",
    found: "md5",
    mend: sql("ALTER SYSTEM RESET password_encryption", "SELECT pg_reload_conf()"),
  },
  {
    by: `echo 'max_connections = 30' > ${CONFIGURATION}/conf.d/60-less.conf && ${sql("SELECT pg_reload_conf()")}`,
    path: "postgres.pending-restart",
    expected: "",
    found: "max_connections",
    mend: `rm ${CONFIGURATION}/conf.d/60-less.conf && ${sql("SELECT pg_reload_conf()")}`,
  },
  {
    by: `echo 'host all' > ${CONFIGURATION}/pg_hba.d/60-mistake.conf`,
    path: "postgres.hba.errors",
    expected: "",
    found: `${CONFIGURATION}/pg_hba.d/60-mistake.conf:1 end-of-line before role specification`,
    mend: `rm ${CONFIGURATION}/pg_hba.d/60-mistake.conf`,
  },
  {
    by: sql("ALTER ROLE convex_admin NOSUPERUSER"),
    path: "postgres.roles[convex_admin]",
    expected: "a superuser with the stack's password",
    found: "not a superuser, or has another password",
  },
  {
    by: "dpkg --force-depends --remove nftables > /dev/null 2>&1",
    path: "packages.nftables",
    expected: "installed",
    found: "config-files",
  },
];

describe("a hand-made change", () => {
  it.each(TAMPERINGS.map((tampering) => [tampering.by, tampering] as const))("%s", async (by, tampering) => {
    const before = tampering.file === undefined ? "" : await content(tampering.file);
    const text = (value: Tampering["expected"]) => (typeof value === "function" ? value(before) : value);
    await machine.sh(`cd / && ${by}`);
    const tampered = await fingerprint();

    const { differences } = await inspector.inspect();
    const looked = await fingerprint();
    // Repair before any assertion, so that the next test starts with a healthy machine.
    if (tampering.mend === undefined) await setUp();
    else await machine.sh(`cd / && ${tampering.mend}`);

    const told = { path: tampering.path, expected: text(tampering.expected), found: text(tampering.found) };
    expect(differences.map((difference) => ({ ...difference, path: pathOf(difference) }))).toMatchObject([told]);
    expect(looked).toBe(tampered);
  });

  // Each test sees if the one before it was not; this is for the last one.
  it("is repaired", async () => {
    expect((await inspector.inspect()).differences).toEqual([]);
  });
});

describe("strays", () => {
  it("are reported", async () => {
    const strays = [
      ["postgres.files", `${CONFIGURATION}/pg_hba.d/50-neighbour.conf`],
      ["postgres.files", `${CONFIGURATION}/conf.d/50-neighbour.conf`],
      ["sshd.files", "/etc/ssh/sshd_config.d/50-other.conf"],
      ["units.unowned", "/etc/systemd/system/other.service"],
      ["units.unowned", "/etc/systemd/system/ssh.service.d/override.conf"],
      ["cron", "/etc/cron.d/other"],
      ["sudoers", "/etc/sudoers.d/other"],
      ["units.unowned", "/usr/lib/systemd/system/other.service"],
      ["files", "/etc/ld.so.preload"],
      ["files", "/usr/local/bin/ls"],
      ["files", "/etc/profile.d/other.sh"],
    ] as const;
    const paths = strays.map(([, path]) => path);
    await machine.sh(paths.map((path) => `install -D -m 0600 /dev/null ${path}`).join("; "));
    const { facts } = await inspector.inspect();
    await machine.sh(`rm ${paths.join(" ")}`);
    const told = [...new Set(strays.map(([fact]) => fact))].flatMap((fact) =>
      (facts.get(fact)?.text.trim().split("\n") ?? []).map((path) => `${fact} ${path}`),
    );
    expect(told.toSorted()).toEqual(strays.map((stray) => stray.join(" ")).toSorted());
  });

  it("in the backend's database are reported with their owners and grants", async () => {
    const inDatabase = (statement: string) => `cd /; ${sql(statement).replace("-d postgres", "-d convex_self_hosted")}`;
    await machine.sh(
      inDatabase(
        "CREATE TABLE spy (); CREATE TABLE documents (); ALTER TABLE documents OWNER TO convex; GRANT SELECT ON documents TO public; GRANT CREATE ON SCHEMA public TO public",
      ),
    );
    await machine.sh(`cd /; ${sql("ALTER ROLE convex SET work_mem = '1GB'")}`);
    const { facts } = await inspector.inspect();
    expect(facts.get("postgres.grants")?.text).toBe(
      "schema public grants CREATE to everybody\ntable documents grants SELECT to everybody\ntable spy belongs to postgres",
    );
    expect(facts.get("postgres.role_settings")?.text).toBe("role convex: work_mem=1GB");
    await machine.sh(inDatabase("DROP TABLE spy, documents; REVOKE CREATE ON SCHEMA public FROM public"));
    await machine.sh(`cd /; ${sql("ALTER ROLE convex RESET ALL")}`);
  });
});

describe("without what the rest depends on", () => {
  it("a server and an engine that do not answer are reported", async () => {
    await machine.sh("cd / && systemctl stop postgresql@17-main.service docker.socket docker.service");
    const { differences, facts } = await inspector.inspect();
    expect(differences.map(pathOf)).toEqual(["units.docker.service.active", "units.postgresql@17-main.service.active"]);
    const failed = [...facts].filter(([, { exitCode }]) => exitCode !== 0).map(([name]) => name);
    // The exit code of docker.info also depends on the client's version.
    expect(failed.filter((name) => name !== "docker.info")).toEqual([
      "docker.containers",
      "docker.networks",
      "docker.images",
      "postgres",
    ]);
    await setUp();
  });

  it("without the volume, its files are not checked", async () => {
    await machine.sh("systemctl stop postgresql@17-main docker.socket docker && systemctl stop convex-volume");
    const { differences } = await inspector.inspect();
    expect(differences.map(pathOf).toSorted()).toEqual([
      "postgres.volume",
      "units.convex-volume.service.active",
      "units.docker.service.active",
      "volume.mount.source",
    ]);
    expect(await machine.sh("ls -A /mnt/convex")).toBe("");
    await setUp();
  });

  it("a file system that is smaller than its volume is reported, and grown by the next run", async () => {
    await lab.room.growVolume("11111111", 120);
    const { differences } = await inspector.inspect();
    expect(differences).toEqual([
      {
        ...{ script: "volume.sh", area: "volume", subject: "volume", property: "file-system" },
        ...{ expected: "full-size", found: "smaller" },
      },
    ]);
    await setUp();
    expect((await inspector.inspect()).differences).toEqual([]);
  });
});
