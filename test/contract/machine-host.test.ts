import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";

import { MOUNTPOINT } from "../../contract/names.ts";
import { namedValues } from "../../contract/scripts.ts";
import { type Lab, openLab } from "./droplet-harness.ts";
import { hostValues, Machine, SCRIPTS } from "./machine-harness.ts";
import { Inspector } from "./machine-inspection.ts";

const SETUP = "host/host.sh";
const UNITS = [
  ...["convex-metadata-guard", "convex-hide-processes", "convex-volume", "ssh", "docker"],
  ...["apt-daily.timer", "apt-daily-upgrade.timer"],
];

let lab: Lab;
let machine: Machine;

beforeAll(async () => {
  lab = await openLab();
  await lab.room.createVolume({ id: "11111111", name: "data", sizeGigabytes: 100 });
  machine = await Machine.create(lab, { ...lab.spec(1), volumeIds: ["11111111"] });
});
afterAll(() => lab[Symbol.asyncDispose]());

describe("the set-up of a fresh droplet", () => {
  // Each moment is after a change and before the step that makes it effective.
  it.each([
    "dpkg --status docker.io 2> /dev/null | grep -q '^Status: .*\\(unpacked\\|half\\)'",
    "grep -q metadata-guard.nft $log",
    "grep -q convex-hide-processes.service $log",
    "grep -q 10-convex-droplet.conf $log",
    "grep -q 99convex-droplet $log",
    "grep -q 'formatted volume' $log",
    "grep -q daemon.json $log",
  ])("is killed when %s", (moment) => machine.killWhen(moment, SETUP, hostValues()), 180_000);

  it("is finished by the next run, and the one after that changes nothing", async () => {
    const last = await machine.run(SETUP, hostValues());
    expect(last.output).toMatch(/host\.sh: done, \d+ changed$/);
    expect(last.exitCode).toBe(0);
    const before = await machine.snapshot(UNITS);
    const again = await machine.run(SETUP, hostValues());
    expect(again).toEqual({
      exitCode: 0,
      output: "host.sh: waiting for cloud-init, which installs packages\nhost.sh: unchanged",
    });
    expect(await machine.snapshot(UNITS)).toBe(before);
  });

  it("has made all its changes effective", async () => {
    expect(await machine.sh("sshd -T | grep -E '^(passwordauthentication|maxstartups)'")).toBe(
      "passwordauthentication no\nmaxstartups 60:30:100",
    );
    // An empty image: its programs are mounted into it.
    await machine.sh(`
      mkdir /root/links && for name in bin lib lib64; do ln -s usr/$name /root/links; done
      tar -C /root/links -c . | docker import - tools
      docker create --name logger tools true`);
    expect(await machine.sh("docker inspect --format '{{json .HostConfig.LogConfig}}' logger")).toBe(
      '{"Type":"json-file","Config":{"max-file":"3","max-size":"10m"}}',
    );
    expect(await machine.sh("systemctl show --property=CPUWeight --value backups.slice")).toMatch(/^(idle|0)$/);
  });

  it("starts the containers of a Docker that was killed again, and not those that a person has stopped", async () => {
    const run = "docker run --detach --restart unless-stopped --volume /usr:/usr:ro";
    await machine.sh(`
      ${run} --name kept tools sleep 1000000
      ${run} --name ended tools sleep 1000000
      docker stop --time 0 ended
      systemctl kill --kill-whom=main --signal=KILL docker.service`);
    const states = "docker ps --all --format '{{.Names}} {{.State}}' --filter name=kept --filter name=ended | sort";
    const came = async () => {
      expect(await machine.sh(states)).toBe("ended exited\nkept running");
    };
    await vi.waitFor(came, { timeout: 60_000, interval: 500 });
    await machine.sh("docker rm --force kept ended");
  });

  it("has mounted the volume at the paths that Convex and PostgreSQL use", async () => {
    expect(await machine.sh("findmnt -no SOURCE,FSTYPE,OPTIONS /mnt/convex; blkid -s LABEL -o value /dev/sda")).toBe(
      "/dev/sda ext4 rw,noatime,discard\nconvex-data",
    );
    expect(await machine.sh("readlink /opt/convex; ls -A /opt/convex/")).toBe(
      "/mnt/convex\ndata\nlost+found\npostgresql",
    );
  });

  it("waits for a run that is still active", async () => {
    await machine.sh(`flock /run/convex-droplet.lock sh -c 'until [ -e /run/release ]; do sleep 0.05; done' &> /dev/null &
      until ! flock --nonblock /run/convex-droplet.lock true; do sleep 0.05; done`);
    expect(await machine.try(`timeout 2 bash ${SCRIPTS}/${SETUP} <<< '${hostValues()}'`)).toEqual({
      exitCode: 124,
      output: "",
    });
    await machine.sh("touch /run/release");
    expect(await machine.run(SETUP, hostValues())).toMatchObject({ exitCode: 0 });
  });
});

describe("updates", () => {
  it("are switched on again by the next run, and drift shows what was off", async () => {
    await machine.sh(`sed -i 's/-Security/-Insecurity/' /etc/apt/apt.conf.d/99convex-droplet
      systemctl mask --quiet --now apt-daily.timer; systemctl stop apt-daily-upgrade.timer
      apt-get -qq purge -y unattended-upgrades`);
    const check = `CONVEX_DROPLET_CHECK=1 bash ${SCRIPTS}/${SETUP} <<< '${hostValues()}' | tr '\\0' ' '`;
    const shown = await machine.sh(check);
    expect(shown).toContain("packages unattended-upgrades installed not installed");
    expect(shown).toContain("files[/etc/apt/apt.conf.d/99convex-droplet] content");
    expect(shown).toContain("units.apt-daily.timer enabled enabled masked");
    expect(shown).toContain("units.apt-daily-upgrade.timer active active inactive");
    expect(shown).toContain("units.unattended-upgrades.service enabled enabled");
    expect(await machine.run(SETUP, hostValues())).toMatchObject({ exitCode: 0 });
    expect(await machine.sh(check)).toBe("");
    expect((await machine.run(SETUP, hostValues())).output).toMatch(/unchanged$/);
  });
});

describe("updates by the daily run", () => {
  /** Packages with a configuration file, and sources of the distribution with one version of one package. */
  const SOURCES = `
    publish() { # FOLDER LABEL CODENAME PACKAGE VERSION
      mkdir -p tree/DEBIAN tree/etc "$1" && echo "$5" > "tree/etc/$4.conf" && echo "/etc/$4.conf" > tree/DEBIAN/conffiles
      printf '%s\\n' "Package: $4" "Version: $5" "Architecture: all" "Maintainer: a" "Description: a" > tree/DEBIAN/control
      printf '%s\\n' '#!/bin/sh' 'touch /run/installing; while [ -e /run/wait ]; do sleep 0.05; done' > tree/DEBIAN/postinst
      chmod +x tree/DEBIAN/postinst && dpkg-deb -Znone --build tree "$1/a.deb" > /dev/null && rm -r tree && cd "$1"
      { dpkg-deb --field a.deb && echo "Filename: ./a.deb" && echo "Size: $(stat -c %s a.deb)" && echo "SHA256: $(sha256sum < a.deb | cut -d ' ' -f 1)"; } > Packages
      printf '%s\\n' "Origin: Debian" "Label: $2" "Codename: $3" "SHA256:" " $(sha256sum < Packages | cut -d ' ' -f 1) $(stat -c %s Packages) Packages" > Release
      echo "deb [trusted=yes] file:$PWD ./" > "/etc/apt/sources.list.d/$1.list" && cd ..
    }
    mkdir -p /srv/sources /etc/apt/sources.list.d && cd /srv/sources`;
  const publish = (name: string, version: number, label = "Debian-Security", codename = "trixie-security") =>
    `publish ${codename} ${label} ${codename} ${name} ${version}`;

  const run = (options = "") =>
    machine.sh(`apt-get -qq -o APT::Get::List-Cleanup=0 update
      rm -f /var/lib/apt/periodic/upgrade-stamp; systemctl start ${options} apt-daily-upgrade`);
  const scheduled = () =>
    machine.sh("date -u -d @$(sed -n 's/^USEC=\\(.*\\)......$/\\1/p' /run/systemd/shutdown/scheduled) +%H:%M || true");

  // The updates of the mirror's packages are not needed here.
  beforeAll(() => machine.sh("mv /etc/apt/sources.list /root/"));
  afterAll(() =>
    machine.sh(`mv /root/sources.list /etc/apt/; rm -rf /srv/sources /etc/apt/sources.list.d/trixie-* /run/reboot-required
      apt-get -qq purge -y fixed feature`),
  );

  it("of security are installed, others are not, changed files stay, and the reboot comes at its time", async () => {
    await machine.sh(`${SOURCES}
      ${publish("fixed", 1)}; dpkg --install trixie-security/a.deb > /dev/null; ${publish("fixed", 2)}
      ${publish("feature", 1, "Debian", "trixie-updates")}; dpkg --install trixie-updates/a.deb > /dev/null
      ${publish("feature", 2, "Debian", "trixie-updates")}
      echo mine > /etc/fixed.conf; touch /run/reboot-required`);
    await run();
    expect(await machine.sh("dpkg-query -W -f '${Package} ${Version}\n' feature fixed; cat /etc/fixed.conf")).toBe(
      "feature 1\nfixed 2\nmine",
    );
    expect(await machine.sh("ls /var/lib/apt/periodic")).toContain("upgrade-stamp");
    expect(await scheduled()).toBe("08:00");
  });

  it.each<[by: string, version: number, complete: () => Promise<unknown>]>([
    ["the next day's run", 3, () => run()],
    ["an up", 4, () => machine.run(SETUP, hostValues())],
  ])("that were killed are completed by %s", async (_, version, complete) => {
    await machine.sh(`${SOURCES}; ${publish("fixed", version)}; rm -f /run/installing; touch /run/wait`);
    await run("--no-block");
    await machine.sh(`until [ -e /run/installing ]; do sleep 0.05; done
      systemctl kill --signal KILL apt-daily-upgrade; rm /run/wait`);
    expect(await machine.sh("dpkg-query -W -f '${Version} ${db:Status-Status}' fixed")).toBe(
      `${version} half-configured`,
    );
    await complete();
    expect(await machine.sh("dpkg-query -W -f '${Version} ${db:Status-Status}' fixed")).toBe(`${version} installed`);
    expect((await machine.run(SETUP, hostValues())).output).toMatch(/unchanged$/);
  });

  it("reboot at no other time than the setting's, and never if it says so", async () => {
    const { output } = await machine.run(SETUP, hostValues({ rebootTime: "never" }));
    expect(output).toMatch(/wrote \/etc\/apt\/apt\.conf\.d\/99convex-droplet\nhost\.sh: done, 1 changed$/);
    expect(await scheduled()).toBe("");
    await run();
    expect(await scheduled()).toBe("");
    expect((await machine.run(SETUP, hostValues({ rebootTime: "19:30" }))).output).toMatch(/done, 1 changed$/);
    await run();
    expect(await scheduled()).toBe("19:30");
    expect((await machine.run(SETUP, hostValues())).output).toMatch(/done, 1 changed$/);
    expect(await scheduled()).toBe("");
  });
});

it("a script that hangs stops after its time limit with all its processes, and reports this", async () => {
  const { output, exitCode } = await machine.try(`
    exec 9> /run/convex-droplet.lock
    flock 9
    CONVEX_DROPLET_LIMIT_SECONDS=2 setsid --wait bash ${SCRIPTS}/${SETUP} <<< '${hostValues()}' 9>&-`);
  expect(output).toMatch(/host\.sh: error: did not end within 2 s and was stopped\. Its last line shows where/);
  expect(exitCode).not.toBe(0);
  expect((await machine.try("pgrep --full --list-full '[h]ost.sh'")).output).toBe("");
}, 60_000);

describe("packages", () => {
  const install = (name: string) => machine.try(`source ${SCRIPTS}/lib/common.sh; install_packages ${name}`);

  it("are installed after a dpkg that was killed between unpacking and configuring", async () => {
    await machine.sh("cd /tmp && apt-get -qq download hello && dpkg --unpack hello_*.deb");
    expect(await machine.sh("dpkg-query -W -f '${db:Status-Status}' hello")).toBe("unpacked");
    expect(await install("hello")).toMatchObject({ exitCode: 0 });
    expect(await machine.sh("hello; dpkg-query -W -f '${db:Status-Status}' hello")).toBe("Hello, world!\ninstalled");
  });

  it.each(["/var/lib/apt/lists/lock", "/var/cache/apt/archives/lock", "/var/lib/dpkg/lock-frontend"])(
    "wait for another process that holds %s",
    async (lock) => {
      await machine.sh("apt-get -qq purge -y hello; rm -f /run/convex-droplet-lists");
      const hold = `import fcntl, time; lock = open("${lock}", "a"); fcntl.lockf(lock, fcntl.LOCK_EX); time.sleep(4); print("released")`;
      const { output, exitCode } = await machine.try(`
        python3 -u -c '${hold}' &
        until grep -q ":$(stat -c %i ${lock}) " /proc/locks; do sleep 0.05; done
        source ${SCRIPTS}/lib/common.sh; install_packages hello`);
      expect(output.split("\n").at(-2)).toBe("released");
      expect(output).toMatch(/installed hello$/);
      expect(exitCode).toBe(0);
    },
  );
});

/** Checks that have to succeed after the set-up, and after each boot. */
const holds = {
  async "the metadata service answers root, and no other user"() {
    const ask = "curl -sS --max-time 3 http://169.254.169.254/metadata/v1/id";
    expect(await machine.sh(ask)).toBe("1");
    const other = await machine.try(`runuser -u nobody -- ${ask}`);
    expect(other.output).toMatch(/Failed to connect|Couldn't connect|Could not connect/);
    const inContainer = `docker run --rm --volume /usr:/usr:ro tools ${ask}`;
    expect(await machine.try(inContainer)).toMatchObject({ exitCode: 28 });
    // Without the guard it is reachable, so only the guard blocks it.
    await machine.sh("nft delete table inet convex_metadata");
    expect(await machine.sh(inContainer)).toBe("1");
    await machine.sh("systemctl restart convex-metadata-guard");
    expect(await machine.try(inContainer)).toMatchObject({ exitCode: 28 });
  },

  async "users do not see other users' processes, and containers are not affected"() {
    await machine.sh(
      "docker run --detach --rm --name backend --volume /usr:/usr:ro tools sleep 1000000 >&2; systemd-run --quiet --collect --unit secretive sleep 2000000",
    );
    try {
      const list = "ps -eo args";
      expect((await machine.sh(list)).split("\n")).toEqual(
        expect.arrayContaining(["sleep 1000000", expect.stringMatching(/sleep 2000000$/)]),
      );
      expect(await machine.sh(`runuser -u nobody -- ${list}`)).toBe(`COMMAND\n${list}`);
      expect(await machine.sh(`docker exec --user 65534 backend ${list}`)).toBe(`COMMAND\nsleep 1000000\n${list}`);
    } finally {
      await machine.sh("docker kill backend; systemctl stop secretive");
    }
  },

  async "nobody can log in with a password"() {
    const { stderr } = await execa(
      "ssh",
      [
        ...["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "PubkeyAuthentication=no"].map(
          (option) => `-o${option}`,
        ),
        `root@${machine.droplet.publicAddress}`,
        "true",
      ],
      { reject: false, stdin: "ignore" },
    );
    expect(stderr).toContain("Permission denied (publickey).");
  },
};

describe("on a droplet that is set up", () => {
  it.each(Object.entries(holds))("%s", (_, check) => check());

  it("operators' keys are added and removed without a restart", async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "operator-"));
    const file = path.join(folder, "key");
    try {
      await execa("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "an operator", "-f", file]);
      const logIn = async () => {
        const options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes"];
        const words = ["-F", "none", "-i", file, ...options.map((option) => `-o${option}`)];
        return execa("ssh", [...words, `root@${machine.droplet.publicAddress}`, "whoami"], { reject: false });
      };
      const before = await machine.sh("systemctl show --property MainPID ssh docker");
      await machine.run(SETUP, hostValues({ keys: [(await readFile(`${file}.pub`, "utf8")).trim()] }));
      expect((await logIn()).stdout).toBe("root");
      const { output } = await machine.run(SETUP, hostValues());
      expect(output).toMatch(/wrote \/etc\/ssh\/convex_operators\nhost\.sh: done, 1 changed$/);
      expect((await logIn()).stderr).toContain("Permission denied (publickey).");
      expect(await machine.sh("systemctl show --property MainPID ssh docker")).toBe(before);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it.each([
    ["a link to somewhere else", "ln -s /srv /opt/convex"],
    ["a link to nothing", "ln -s /nowhere /opt/convex"],
    ["a folder", "mkdir /opt/convex"],
  ])("%s at /opt/convex is refused and not changed", async (_, make) => {
    await machine.sh(`rm -d /opt/convex; ${make}`);
    const before = await machine.sh("stat -c '%F %N' /opt/convex");
    const { output, exitCode } = await machine.run(SETUP, hostValues());
    expect(output).toMatch(/error: \/opt\/convex: is something else, it should be a link to \/mnt\/convex\. .*$/);
    expect(exitCode).toBe(1);
    expect(await machine.sh("stat -c '%F %N' /opt/convex")).toBe(before);
    await machine.sh("rm -d /opt/convex");
    expect((await machine.run(SETUP, hostValues())).output).toMatch(
      /linked \/opt\/convex to \/mnt\/convex\n.*1 changed$/,
    );
  });

  it("the file system grows to the size of a volume that grew", async () => {
    await lab.room.growVolume("11111111", 120);
    const { exitCode } = await machine.run(SETUP, hostValues({ sizeGb: 120 }));
    expect(exitCode).toBe(0);
    expect(await machine.sh("df --output=size -BG /mnt/convex | tail -n 1 | xargs; systemctl is-active docker")).toBe(
      "118G\nactive",
    );
    expect((await machine.run(SETUP, hostValues({ sizeGb: 120 }))).output).toMatch(/unchanged$/);
  });
});

describe("after a reboot", () => {
  beforeAll(async () => {
    await machine.sh(`cd ${MOUNTPOINT} && mkdir -p rehearsal/cluster backups/drill/files`);
    await lab.room.rebootDroplet(1);
    await lab.booted(machine.droplet);
  });

  it("the copies that a backend image or a backup was tried on are gone", async () => {
    expect(await machine.sh(`cd ${MOUNTPOINT} && ls -d rehearsal backups/* 2> /dev/null; rmdir backups`)).toBe("");
  });

  it("the whole system is running, and no unit has failed", async () => {
    expect(await machine.sh(`systemctl is-system-running --wait; systemctl is-active ${UNITS.join(" ")}`)).toBe(
      ["running", ...UNITS.map(() => "active")].join("\n"),
    );
  });

  it.each(Object.entries(holds))("%s", (_, check) => check());
});

describe("without its volume", () => {
  const untouched = "findmnt /mnt/convex || ls -A /mnt/convex";

  it("a running droplet writes nothing to the mount point, and does not start Docker again", async () => {
    await lab.room.detachVolume("11111111");
    expect(await machine.try("mkdir /mnt/convex/data")).toMatchObject({ exitCode: 1 });
    expect((await machine.try("systemctl restart docker")).output).toContain("Assertion failed");
    expect(await machine.sh(untouched)).toBe("");
  });

  it("a booting droplet starts no service that would write there", { timeout: 240_000 }, async () => {
    await lab.room.rebootDroplet(1);
    await vi.waitFor(() => machine.sh("systemctl is-failed convex-volume"), { timeout: 180_000, interval: 500 });
    expect(await machine.sh("systemctl is-active docker || true")).toBe("inactive");
    expect(await machine.sh("journalctl --boot --unit convex-volume --output cat")).toContain(
      "error: waited 90 s for volume data at /dev/disk/by-id/scsi-0DO_Volume_data; is it attached to this droplet?",
    );
    expect(await machine.sh(untouched)).toBe("");
  });

  it("an inspection of it ends in time, and shows the cause", { timeout: 120_000 }, async () => {
    const backend = { container: "backend", api_port: 3210, site_port: 3211, dashboard_port: 6791, key: "k" };
    const inspector = await Inspector.create(machine, {
      host: hostValues({ sizeGb: 120 }),
      backend: namedValues({ ...backend, read_only_key: "", role_url: "" }),
    });
    const started = Date.now();
    const { differences } = await inspector.inspect();
    // Drift and doctor wait for 90 s.
    expect(Date.now() - started).toBeLessThan(75_000);
    expect(differences).toContainEqual(
      expect.objectContaining({ subject: "volume", property: "device", found: "not attached" }),
    );
  });

  it("everything runs again when the volume is back, without a reboot", async () => {
    await lab.room.attachVolume("11111111", 1);
    expect(await machine.run(SETUP, hostValues({ sizeGb: 120 }))).toMatchObject({ exitCode: 0 });
    expect(await machine.sh("systemctl is-active convex-volume docker; ls -A /mnt/convex")).toBe(
      "active\nactive\ndata\nlost+found\npostgresql",
    );
  });
});
