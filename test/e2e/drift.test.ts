import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";

import { eventually, type Run, TestCloud } from "./harness.ts";
import { AS_PRINTED, TAMPERINGS } from "./tampering.ts";

const STACK = "drift";

interface Report {
  status: string;
  findings: { path: string; severity: string; message: string; repair: string }[];
  unknown: string[];
}

let cloud: TestCloud;

beforeAll(async () => {
  cloud = await TestCloud.start();
  await cloud.createStack(STACK, { "allowedCidrs[0]": "127.0.0.0/8" });
  expect(await cloud.up(STACK)).toMatchObject({ exitCode: 0 });
});

afterAll(() => cloud[Symbol.asyncDispose]());

/** Without the notice that its backups are off. */
function drift(...args: string[]): Promise<Run> {
  return cloud.operate("drift", STACK, ["--ignore", "backups", ...args]);
}

/** A drift check's findings, as sorted lines, and its exit code. */
async function look(): Promise<{ exitCode: number; found: string[]; unknown: string[]; printed: Map<string, string> }> {
  const { exitCode, stdout, all } = await drift("--format", "json");
  if (stdout === "") throw new Error(all);
  const { findings, unknown } = JSON.parse(stdout) as Report;
  const lines = findings.map(
    ({ severity, path: where, message, repair }) =>
      // Numbers differ from machine to machine.
      [`${severity} ${where}: ${message}`.replace(/(rule|line) \d+ (is|of)/, "$1 … $2"), repair] as const,
  );
  return { exitCode, found: lines.map(([line]) => line).toSorted(), unknown, printed: new Map(lines) };
}

/** Installs the same packages with a higher version: their own scripts restart their services. */
const UPDATE = `
  cd "$(mktemp -d)" && chown _apt .
  for package in postgresql-17 docker.io nftables curl; do
    apt-get -qq download "$package"
    dpkg-deb --raw-extract "$package"_*.deb "$package"
    sed -i 's/^Version: .*/&+update1/' "$package/DEBIAN/control"
    dpkg-deb -Znone --build "$package" "$package.deb" > /dev/null
    rm "$package"_*.deb
  done
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=60 install -y ./*.deb > /dev/null
  dpkg-query -W -f '\${Version}\n' docker.io | grep -F +update1
  rm -r "$PWD"`;

/** Another app, as somebody sets it up by hand: with a service on port 8080, a container, and a database on the same PostgreSQL. */
const NEIGHBOUR = `
  image=$(docker inspect --format '{{.Config.Image}}' convex-dashboard)
  docker network create shop
  docker run --detach --name shop-cache --network shop --publish 127.0.0.1:8090:6791 --restart unless-stopped "$image"
  printf '%s\n' '[Service]' 'ExecStart=/usr/bin/python3 -m http.server --bind 0.0.0.0 8080' '[Install]' 'WantedBy=multi-user.target' \
    > /etc/systemd/system/shop.service
  systemctl enable --quiet --now shop.service
  mkdir -p /etc/cron.d && echo '0 4 * * * nobody true' > /etc/cron.d/shop
  install -o postgres <(echo 'host shop shop 127.0.0.1/32 scram-sha-256') /etc/postgresql/17/main/pg_hba.d/50-shop.conf
  cd / && sql() { runuser -u postgres -- psql -qAtX "$@"; }
  sql -c "CREATE ROLE shop LOGIN PASSWORD 'neighbour'" -c 'CREATE DATABASE shop OWNER shop' -c 'SELECT pg_reload_conf()'
  sql -d shop -c 'CREATE TABLE orders (id int)' -c 'ALTER TABLE orders OWNER TO shop' -c 'INSERT INTO orders VALUES (42)'`;

/** What others see of it, and since when its container and its service run. */
const NEIGHBOUR_WORKS = `
  curl -fsS -o /dev/null http://127.0.0.1:8080/
  PGPASSWORD=neighbour psql -qAtX -h 127.0.0.1 -U shop -d shop -c 'SELECT id FROM orders'
  docker inspect --format '{{.State.StartedAt}} {{.State.Running}}' shop-cache
  systemctl show shop.service --property MainPID,ActiveState
  cat /etc/cron.d/shop`;

const NEIGHBOUR_GOES = `
  systemctl disable --quiet --now shop.service
  rm /etc/systemd/system/shop.service /etc/cron.d/shop /etc/postgresql/17/main/pg_hba.d/50-shop.conf
  systemctl daemon-reload
  docker rm --force shop-cache && docker network rm shop
  cd / && runuser -u postgres -- psql -qAtX -c 'DROP DATABASE shop' -c 'DROP ROLE shop' -c 'SELECT pg_reload_conf()'`;

const CLEAN = { exitCode: 0, found: [], unknown: [], printed: new Map() };

/** A hash of every file below a folder. */
async function hashes(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  const hash = async (file: string) =>
    createHash("sha256")
      .update(await readFile(file))
      .digest("hex");
  return Promise.all(files.toSorted().map(async (file) => `${file} ${await hash(file)}`));
}

// One stack; each test leaves it clean.
describe("a stack", () => {
  it("is clean after its up, and drift changes neither state nor machine", async () => {
    const state = path.join(cloud.home.root, "state");
    const machine = () =>
      cloud.onDroplet(
        STACK,
        "find /etc /usr/local /var/lib/dpkg /mnt/convex/data/credentials -type f -printf '%p %T@ %m %u ' -exec md5sum {} + | sort | md5sum; ls /run /tmp",
      );
    const before = [await hashes(state), (await machine()).stdout];
    expect(await look()).toEqual(CLEAN);
    expect([await hashes(state), (await machine()).stdout]).toEqual(before);
  });

  it("is also clean without backups, and a preview and every drift check say that they are off", async () => {
    const off = "backups: are off, so what is lost with the volume cannot be restored";
    const checked = await cloud.operate("drift", STACK);
    expect(checked).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(`notice   ${off}`) as unknown });
    expect((await cloud.pulumi(["preview", "--stack", STACK])).all).toContain(off);
  });

  it("is clean after a reboot", async () => {
    const boot = () => cloud.onDroplet(STACK, "stat -c %Y /proc/1");
    const before = await boot();
    await cloud.onDroplet(STACK, "systemctl reboot");
    await eventually("a clean drift check after another boot", 180, async () => {
      const now = await boot();
      if (now.exitCode !== 0 || now.stdout === before.stdout) throw new Error("not yet");
      expect(await look()).toEqual(CLEAN);
    });
  });

  it("is clean after an unattended update of its services' packages, and in every later check", async () => {
    const updated = await cloud.onDroplet(STACK, "bash -e -s", UPDATE);
    expect(updated.exitCode, updated.all).toBe(0);
    await eventually("a clean drift check after the update", 120, async () => {
      expect(await look()).toEqual(CLEAN);
    });
    for (let looks = 0; looks < 3; looks++) expect(await look()).toEqual(CLEAN);
  });

  it("reports each change inside the droplet, and nothing else, and is clean after the repairs", async () => {
    const script = TAMPERINGS.map(({ change }) => `( ${change}\n) > /dev/null`).join("\n");
    const changed = await cloud.onDroplet(STACK, "bash -e -s", script);
    expect(changed).toMatchObject({ exitCode: 0 });

    const seen = await look();
    const expected = TAMPERINGS.flatMap(({ finds }) => finds);
    expect(seen.found).toEqual(expected.toSorted());
    expect(seen).toMatchObject({ exitCode: 2, unknown: [] });

    for (const line of TAMPERINGS.flatMap(({ finds, undo }) => (undo === AS_PRINTED ? finds : []))) {
      expect(await cloud.typed(seen.printed.get(line) ?? ""), line).toMatchObject({ exitCode: 0 });
    }
    const others = TAMPERINGS.flatMap(({ undo = AS_PRINTED }) =>
      undo === AS_PRINTED ? [] : `( ${undo}\n) > /dev/null`,
    );
    expect(await cloud.onDroplet(STACK, "bash -e -s", others.join("\n"))).toMatchObject({ exitCode: 0 });
    await repair();
    expect(await look()).toEqual(CLEAN);
  });

  it("with a firewall that somebody switched on reports only the firewall, and is clean after the printed command", async () => {
    const switchOn = "apt-get -qq install -y ufw > /dev/null && ufw allow 22/tcp && ufw --force enable";
    expect(await cloud.onDroplet(STACK, switchOn)).toMatchObject({ exitCode: 0 });
    const { found } = await look();
    expect(found).toEqual([
      expect.stringMatching(/^error nft\.ufw: ufw is active/),
      expect.stringMatching(/^error postgres\.login: .*timeout/),
    ]);
    await followPerson("nft.ufw");
    expect(await look()).toEqual(CLEAN);
  });

  it("with data that is not on the volume does not serve it, and is clean after the printed command", async () => {
    const mount = await cloud.onDroplet(STACK, "mkdir -p /srv/fake && mount --bind /srv/fake /mnt/convex/data");
    expect(mount).toMatchObject({ exitCode: 0 });
    expect((await look()).found).toEqual([
      expect.stringMatching(/^error volume\.on\[\/mnt\/convex\/data\]: is a mount of .*, it should be on the volume/),
    ]);
    const refused = await cloud.up(STACK, "--replace", "**convex-backend", "--replace", "**convex-setup");
    expect(refused.exitCode).not.toBe(0);
    expect((await cloud.onDroplet(STACK, "ls -A /srv/fake")).stdout).toBe("");
    await followPerson("volume.on");
    expect((await cloud.up(STACK)).exitCode).toBe(0);
    await eventually("a clean drift check", 60, async () => {
      expect(await look()).toEqual(CLEAN);
    });
  });

  it("that has lost its files is not accepted, even if its backend creates new ones", async () => {
    const swap = (from: string, to: string) =>
      cloud.onDroplet(
        STACK,
        `docker stop convex-backend; cd /mnt/convex && rm -rf ${to} && mv ${from} ${to}; docker start convex-backend`,
      );
    await swap("data/storage", "kept");
    await eventually("the loss", 60, async () => {
      expect((await look()).found).toEqual([
        "error backend.files: are not the files that this instance was accepted with, they should be",
      ]);
    });
    const refused = await cloud.up(STACK, "--replace", "**convex-acceptance");
    expect(refused.all).toContain("error: backend: has lost its files: /mnt/convex/data/storage is not the folder");
    await swap("kept", "data/storage");
    expect((await cloud.up(STACK)).exitCode).toBe(0);
    await eventually("a clean drift check", 60, async () => {
      expect(await look()).toEqual(CLEAN);
    });
  });

  it("with a backend that answers but cannot write is neither healthy nor accepted", async () => {
    await cloud.onDroplet(STACK, "systemctl stop postgresql@17-main");
    await eventually("the backend to be unhealthy", 120, async () => {
      expect((await look()).found).toContain(
        "error containers.convex-backend.health: is unhealthy, it should be healthy",
      );
    });
    const refused = await cloud.up(STACK, "--replace", "**convex-acceptance");
    expect(refused.all).toContain("error: backend: answers, but does not write to its database");
    await repair();
    await eventually("a clean drift check", 60, async () => {
      expect(await look()).toEqual(CLEAN);
    });
  });

  it("leaves another app beside it untouched, and is clean with the findings that docs/drift.md ignores for it", async () => {
    const set = await cloud.onDroplet(STACK, "bash -e -s", NEIGHBOUR);
    expect(set.exitCode, set.all).toBe(0);
    const works = () => cloud.onDroplet(STACK, "bash -e -s", NEIGHBOUR_WORKS);
    let before = await works();
    await eventually("the other app", 30, async () => {
      before = await works();
      expect(before).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("42") as unknown });
    });
    const patterns = await documentedPatterns();
    const { found } = await look();
    expect(found.length).toBeGreaterThanOrEqual(patterns.length);
    expect(found.filter((line) => !/shop|:8080:/.test(line))).toEqual([]);

    for (const [index, pattern] of patterns.entries()) await cloud.configure(STACK, `driftIgnore[${index}]`, pattern);
    expect(await look()).toEqual(CLEAN);
    const doctor = await cloud.operate("doctor", STACK);
    expect(doctor.exitCode, doctor.all).toBe(0);
    const up = await cloud.up(STACK, "--replace", "**convex-setup", "--replace", "**convex-server");
    expect(up.exitCode, up.all).toBe(0);
    expect(await works()).toEqual(before);
    expect(await look()).toEqual(CLEAN);

    expect(await cloud.onDroplet(STACK, "bash -e -s", NEIGHBOUR_GOES)).toMatchObject({ exitCode: 0 });
    await cloud.pulumi(["config", "rm", "driftIgnore", "--stack", STACK]);
    expect(await look()).toEqual(CLEAN);
  });

  it("with changed scripts is not repaired by these scripts", async () => {
    const scripts = "/usr/local/lib/convex-droplet";
    await cloud.onDroplet(
      STACK,
      `echo 'touch /root/ran' >> ${scripts}/host/host.sh; rm /etc/convex-droplet/metadata-guard.nft`,
    );
    const { findings } = JSON.parse((await drift("--format", "json")).stdout) as Report;
    expect(findings.map(({ repair: named }) => named.includes("'**convex-scripts'"))).toEqual([true, true]);
    await repair();
    expect(await cloud.onDroplet(STACK, "ls /root/ran")).toMatchObject({ exitCode: 2 });
    expect(await look()).toEqual(CLEAN);
  });

  it("with a pending change of where the server listens does not restart it, and is clean after the printed command", async () => {
    await cloud.onDroplet(
      STACK,
      `cd / && runuser -u postgres -- psql -c "ALTER SYSTEM SET listen_addresses = '*'" -c 'SELECT pg_reload_conf()'`,
    );
    expect((await look()).found).toEqual([
      expect.stringMatching(/^error postgres\.settings\.listen_addresses: will change at the next restart/),
    ]);
    expect((await cloud.up(STACK, "--replace", "**convex-server")).all).toContain("Nothing was restarted.");
    await followPerson("postgres.settings.listen_addresses");
    expect((await cloud.up(STACK)).exitCode).toBe(0);
    expect(await look()).toEqual(CLEAN);
  });

  it("reports each change in the cloud, and is clean after the repair", async () => {
    const { firewalls } = (await (await cloud.cloud("GET", "/v2/firewalls")).json()) as {
      firewalls: { id: string; name: string }[];
    };
    const firewall = firewalls.find(({ name }) => name === `convex-${STACK}`);
    const rule = { protocol: "tcp", ports: "5432", sources: { addresses: ["0.0.0.0/0"] } };
    await cloud.cloud("POST", `/v2/firewalls/${firewall?.id ?? ""}/rules`, { inbound_rules: [rule] });
    const { projects } = (await (await cloud.cloud("GET", "/v2/projects")).json()) as {
      projects: { id: string; name: string }[];
    };
    const project = projects.find(({ name }) => name === `convex-${STACK}`);
    await cloud.cloud("PATCH", `/v2/projects/${project?.id ?? ""}`, { description: "changed" });
    const [key] = ((await (await cloud.cloud("GET", "/v2/account/keys")).json()) as { ssh_keys: { id: number }[] })
      .ssh_keys;
    await cloud.cloud("DELETE", `/v2/account/keys/${key?.id ?? ""}`);
    const everything = { protocol: "tcp", ports: "all", sources: { addresses: ["0.0.0.0/0"] } };
    const open = { name: "open", tags: ["convex-droplet"], inbound_rules: [everything] };
    const { firewall: added } = (await (await cloud.cloud("POST", "/v2/firewalls", open)).json()) as {
      firewall: { id: string };
    };

    expect(await look()).toMatchObject({
      exitCode: 2,
      unknown: [],
      found: [
        'error cloud.convex-firewall.inboundRules[1]: unexpected {"portRange":"5432","protocol":"tcp","sourceAddresses":["0.0.0.0/0"]}',
        "error cloud.convex-project.description: is changed, it should be Self-hosted Convex",
        "error cloud.convex-ssh-key: is not there, it should be",
        "error cloud.firewalls[open]: allows tcp all from 0.0.0.0/0 in addition to the stack's own firewall, nothing declares it",
      ],
    });
    await cloud.cloud("DELETE", `/v2/firewalls/${added.id}`);
    const passedOver = await drift("--ignore", "cloud.convex-firewall.*\ncloud.*.description", "--ignore", "*ssh-key");
    expect(passedOver).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("is as declared") as unknown });
    await repair();
    expect(await look()).toEqual(CLEAN);
  });

  it("is unknown, and not clean, if it could not be checked", async () => {
    const missing = await cloud.operate("drift", "nobody");
    expect(missing.exitCode).toBe(1);
    const refused = await cloud.operate("drift", STACK, [], { DIGITALOCEAN_TOKEN: "wrong" });
    expect(refused.exitCode).toBe(1);
    expect(refused.stdout).toContain("unknown  the cloud cannot be asked");
  });

  it("with a droplet that is switched off has drifted, even if nothing inside could be checked", async () => {
    await cloud.switchDroplet("off");
    await eventually("a drift check of a droplet that is off", 60, async () => {
      expect(await look()).toMatchObject({
        exitCode: 2,
        found: ["error cloud.convex-droplet.status: is off, it should be active"],
        unknown: [expect.stringContaining("cannot be reached over SSH")],
      });
    });
  });
});

/** The example of docs/drift.md. */
async function documentedPatterns(): Promise<string[]> {
  const [, yaml = ""] =
    /```yaml\n(convex-droplet:driftIgnore:\n[^`]*)```/.exec(await readFile("docs/drift.md", "utf8")) ?? [];
  return (parse(yaml) as { "convex-droplet:driftIgnore": string[] })["convex-droplet:driftIgnore"];
}

/** Runs the command that drift prints for a person. */
async function followPerson(where: string): Promise<void> {
  const { findings } = JSON.parse((await drift("--format", "json")).stdout) as Report;
  const named = findings.find(({ path: place }) => place.startsWith(where))?.repair ?? "";
  expect(await cloud.typed(named), named).toMatchObject({ exitCode: 0 });
}

/** Runs the one `up` that drift prints. */
async function repair(): Promise<void> {
  const { stdout } = await drift();
  const up = await cloud.typed(/^Repair with: (.*)$/m.exec(stdout)?.[1] ?? stdout);
  expect(up.all).not.toContain("error:");
  expect(up.exitCode, up.all).toBe(0);
}
