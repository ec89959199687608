import { describe, expect, it } from "vitest";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import { compareAccounts } from "../../operations/findings/host/accounts.ts";
import { compareDisks } from "../../operations/findings/host/disks.ts";
import { compareFiles } from "../../operations/findings/host/files.ts";
import { compareListeners } from "../../operations/findings/host/listeners.ts";
import { comparePackages } from "../../operations/findings/host/packages.ts";
import { compareUpdates } from "../../operations/findings/host/updates.ts";
import { failed, insideOf, stateOf, type Told, told } from "./findings.ts";

const DEPLOY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDeployDeployDeployDeployDeployDeploy";
const OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOtherOtherOtherOtherOtherOtherOther me@home";
const SHORT = "ssh-ed25519 AAAAC3NzaC1l… me@home";
const ROOTS = "/root/.ssh/authorized_keys";

const state = stateOf(
  { type: TYPES.key, name: RESOURCES.deployKey, outputs: { publicKeyOpenssh: `${DEPLOY}\n` } },
  { type: TYPES.network, name: RESOURCES.network, inputs: { ipamConfigs: [{ gateway: "172.30.0.1" }] } },
  {
    type: TYPES.container,
    name: RESOURCES.backend,
    inputs: { ports: [{ external: 3210, ip: "0.0.0.0" }] },
  },
);

describe("accounts", () => {
  const user = (name: string, uid: number, shell = "/usr/sbin/nologin", more: object = {}) => ({
    ...{ name, uid, shell, password: false, groups: [] },
    ...more,
  });
  const found = (
    users: object[],
    keys: object[] = [{ path: ROOTS, content: `# key\n \n\t# key\n  ${DEPLOY} deploy\n` }],
  ) => told(compareAccounts(state, insideOf({ users, authorized_keys: keys })));

  it("of the distribution, and the deploy key, are not found", () => {
    const own = [
      user("root", 0, "/bin/bash"),
      user("sync", 4, "/bin/sync"),
      user("app", 1000),
      user("x", 1001, "/bin/false"),
    ];
    expect(found([...own, user("nobody", 65_534, "/bin/sh")])).toEqual([]);
  });

  it.each<[what: string, account: object, told: Told]>([
    [
      "root's number",
      user("toor", 0),
      [
        "error host users users.toor: has root's user id 0, only root should",
        "sed -i '\\|^toor:|d' /etc/passwd /etc/shadow",
      ],
    ],
    [
      "a shell",
      user("mallory", 1000, "/bin/bash"),
      ["warning host users users.mallory: can log in, only root should", "userdel --remove mallory"],
    ],
    [
      "a password",
      user("daemon", 1, "/usr/sbin/nologin", { password: true }),
      ["warning host users users.daemon.password: has a password, no account should", "passwd --lock daemon"],
    ],
    [
      "a powerful group",
      user("daemon", 1, "/usr/sbin/nologin", { groups: ["docker"] }),
      [
        "warning host users users.daemon.groups: is a member of docker, which is as good as root",
        "gpasswd --delete daemon docker",
      ],
    ],
  ])("are found if they have %s", (_, account, expected) => {
    expect(found([account])).toEqual([expected]);
  });

  const NO_DEPLOY_KEY: Told = [
    `warning host authorized_keys authorized_keys[${ROOTS}]: the deploy key is not in it, it should be`,
    "put it back; the key is that of npx pulumi stack output sshPrivateKey",
  ];

  it.each<[what: string, path: string, content: string, told: Told]>([
    [
      "another key",
      ROOTS,
      `${DEPLOY}\n  ${OTHER}\n`,
      [
        `error host authorized_keys authorized_keys[${ROOTS}]: unexpected line 2 "  ${SHORT}"`,
        `sed -i '\\|^[[:space:]]*${OTHER}[[:space:]]*$|d' ${ROOTS}`,
      ],
    ],
    [
      "a key whose options have quotes and bars",
      ROOTS,
      `${DEPLOY}\ncommand="echo 'a|b' $HOME" ssh-ed25519 AAAA it's me`,
      [
        `error host authorized_keys authorized_keys[${ROOTS}]: unexpected line 2 "command="echo 'a|b' $HOME" ssh-ed25519 AAAA it's me"`,
        `sed -i '\\|^[[:space:]]*command="echo .a\\|b. \\$HOME" ssh-ed25519 AAAA it.s me[[:space:]]*$|d' ${ROOTS}`,
      ],
    ],
  ])("can be used with %s", (_, path, content, expected) => {
    expect(found([], [{ path, content }])).toEqual([expected]);
  });

  it.each<[what: string, path: string, line: string]>([
    ["another account", "/home/app/.ssh/authorized_keys", DEPLOY],
    ["other options", ROOTS, `command="true" ${DEPLOY}`],
  ])("the deploy key does not count if it is for %s", (_, path, line) => {
    const [unexpected, none] = found([], [{ path, content: line }]);
    expect(unexpected?.[0]).toContain(`error host authorized_keys authorized_keys[${path}]: unexpected line 1`);
    expect(none).toEqual(NO_DEPLOY_KEY);
  });

  it("the deploy key is missing if there is no file", () => {
    expect(found([], [])).toEqual([NO_DEPLOY_KEY]);
  });
});

describe("files", () => {
  const found = (facts: Record<string, string>) => told(compareFiles(insideOf(facts)));
  const unexpected = "belongs to neither this program nor a package, it should not be here";

  it.each<[fact: string, file: string, ...told: Told]>([
    [
      "units.failed",
      "a@1.service",
      "error host units.failed units[a@1.service]: has failed",
      "journalctl -u a@1.service -n 50",
    ],
    [
      "units.unowned",
      "/etc/systemd/system/a.service",
      `warning host units.unowned units[/etc/systemd/system/a.service]: ${unexpected}`,
      "cat /etc/systemd/system/a.service",
    ],
    ["cron", "/etc/cron.d/a", `warning host cron cron[/etc/cron.d/a]: ${unexpected}`, "cat /etc/cron.d/a"],
    [
      "sudoers",
      "/etc/sudoers.d/a",
      `warning host sudoers sudoers[/etc/sudoers.d/a]: ${unexpected}`,
      "cat /etc/sudoers.d/a",
    ],
    [
      "sshd.files",
      "/etc/ssh/sshd_config.d/a.conf",
      `warning host sshd.files sshd.files[/etc/ssh/sshd_config.d/a.conf]: ${unexpected}`,
      "cat /etc/ssh/sshd_config.d/a.conf",
    ],
    [
      "postgres.files",
      "/etc/postgresql/17/main/conf.d/a.conf",
      `warning postgres postgres.files postgres.files[/etc/postgresql/17/main/conf.d/a.conf]: ${unexpected}`,
      "cat /etc/postgresql/17/main/conf.d/a.conf",
    ],
    [
      "files",
      "/etc/nsswitch.conf",
      "warning host files files[/etc/nsswitch.conf]: was written by neither this program nor a package, it should not be",
      "cp /usr/share/libc-bin/nsswitch.conf /etc/nsswitch.conf",
    ],
    [
      "files",
      "/etc/ssh/sshd_config",
      "warning host files files[/etc/ssh/sshd_config]: was written by neither this program nor a package, it should not be",
      "cp /usr/share/openssh/sshd_config /etc/ssh/sshd_config",
    ],
  ])("in the fact %s are found: %s", (fact, file, claim, repair) => {
    expect(found({ [fact]: `  ${file}\n\n` })).toEqual([[claim, repair]]);
  });

  it("of cloud-init and DigitalOcean are not found, and none if the command failed", () => {
    const own = [
      ...["/etc/systemd/network/10-netplan.conf", "netplan-ovs-cleanup.service", "/etc/sudoers.d/90-cloud-init-users"],
      ...["/etc/cron.d/50-cloud-init", "/etc/netplan/50-cloud-init.yaml", "/etc/ssh/sshd_config.d/50-cloud-init.conf"],
      ...["/etc/ssh/sshd_config.d/60-cloudimg-settings.conf", "/etc/cron.d/digitalocean-agent-update"],
      ...[
        "droplet-agent.service",
        "do-agent.service",
        "snap.lxd.daemon.service",
        "snap-core.mount",
        "/etc/cron.d/README",
      ],
    ];
    expect(found({ cron: own.join("\n"), "units.failed": own.join("\n") })).toEqual([]);
    const facts = insideOf({ cron: failed("/etc/cron.d/a") });
    expect(compareFiles(facts)).toEqual([]);
  });

  it("with only similar names are found", () => {
    expect(found({ cron: "/etc/cron.d/50-cloud-init.d/a\n/etc/cron.d/README.sh\n" })).toHaveLength(2);
  });

  it("lines of fstab are found, except the system's own", () => {
    const own =
      " LABEL=a / ext4 defaults 0 1\nLABEL=b /boot/efi vfat umask=0077 0 1\n/swap none swap sw 0 0\n  # a /mnt ext4";
    const fstab = `${own}\n  /dev/sda\t/mnt/convex   ext4 defaults\n`;
    expect(found({ fstab })).toEqual([
      [
        'warning host fstab fstab: unexpected line "/dev/sda /mnt/convex ext4 defaults"',
        "remove it: the data volume is mounted by convex-volume.service; or ignore it with driftIgnore",
      ],
    ]);
  });
});

describe("packages", () => {
  it.each<[fact: string, text: string, ...told: Told]>([
    [
      "packages.changed",
      "/usr/bin/ssh",
      "warning host packages files[/usr/bin/ssh]: differs from its package, it should not",
      "export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && apt-get install -qq --reinstall -y " +
        "-o Dpkg::Options::=--force-confask -o Dpkg::Options::=--force-confnew -o Dpkg::Options::=--force-confmiss " +
        "$(dpkg-query --search /usr/bin/ssh /bin/ssh 2> /dev/null | cut -d : -f 1 | head -n 1) < /dev/null",
    ],
    [
      "packages.sources",
      "/etc/apt/sources.list.d/a.list:3:https://a.example/debian.org/",
      "error host packages packages.sources[/etc/apt/sources.list.d/a.list]: adds packages from https://a.example/debian.org/, nothing declares it",
      "rm /etc/apt/sources.list.d/a.list",
    ],
    [
      "packages.sources",
      "/etc/apt/sources.list:1:http://it's.notdebian.org",
      "error host packages packages.sources[/etc/apt/sources.list]: adds packages from http://it's.notdebian.org, nothing declares it",
      "sed -i '\\|^[^#]*http://it.s\\.notdebian\\.org|d' /etc/apt/sources.list",
    ],
    [
      "packages.held",
      "openssl",
      "warning host packages packages.openssl: is held back, so it gets no security updates",
      "apt-mark unhold openssl",
    ],
    [
      "packages.broken",
      "The following packages are half configured:\n dpkg\n",
      "error host packages packages: dpkg reports some that are only partly installed: The following packages are half configured:",
      "replace convex-setup convex-server; refresh ",
    ],
  ])("by the fact %s: %s", (fact, text, claim, repair) => {
    expect(told(comparePackages(insideOf({ [fact]: `${text}\n` })))).toEqual([[claim, repair]]);
  });

  it("may come from the distribution and the cloud", () => {
    const sites = [
      "http://deb.debian.org/debian",
      "https://security.ubuntu.com",
      "https://repos-droplet.digitalocean.com/apt",
    ];
    const text = sites.map((site, index) => `/etc/apt/sources.list:${index}:${site}`).join("\n");
    expect(comparePackages(insideOf({ "packages.sources": text }))).toEqual([]);
  });
});

describe("updates", () => {
  const [HOUR, DAY] = [3600, 86_400];
  const now = 1_800_000_000;
  const well = {
    ...{ now, lists: now - HOUR, installed: now - HOUR, since: now - 90 * DAY },
    ...{ cause: "", reboot: null as number | null, packages: [] as string[] },
  };
  const found = (updates: Partial<Record<keyof typeof well, unknown>>, rebootTime = "08:00") =>
    told(
      compareUpdates(
        stateOf({ type: TYPES.command, name: RESOURCES.setup, inputs: { stdin: `reboot_time=${rebootTime}\n` } }),
        insideOf({ updates: { ...well, ...updates } }),
      ),
    );

  it.each<[what: string, updates: Parameters<typeof found>[0]]>([
    ["that were installed an hour ago", {}],
    ["on a new droplet", { lists: null, installed: null, since: now - 2 * DAY }],
    ["after two days without a run", { installed: now - 2.9 * DAY }],
    ["on the first day after a boot", { installed: now - 30 * DAY, lists: now - 30 * DAY, since: now - 23 * HOUR }],
    ["whose last error was followed by a success", { cause: "Lock file is already taken, exiting" }],
    ["that wait for the next time of reboots", { reboot: now - 47 * HOUR }],
  ])("are well: %s", (_, updates) => {
    expect(found(updates)).toEqual([]);
  });

  const INSTALL =
    "systemctl start apt-daily && systemctl start apt-daily-upgrade; tail -n 20 /var/log/unattended-upgrades/unattended-upgrades.log";

  it.each<[what: string, updates: Parameters<typeof found>[0], rest: string]>([
    ["installed", { installed: now - 3 * DAY }, "3 days ago, they should be installed every day"],
    ["listed", { lists: now - 9.9 * DAY }, "9 days ago, they should be installed every day"],
    [
      "ever installed",
      { installed: null, since: now - 3 * DAY, cause: "E" },
      "never, they should be installed every day; the last error is: E",
    ],
  ])("are late if they were not %s", (_, updates, rest) => {
    expect(found(updates)).toEqual([
      [`warning host updates updates: security updates were last installed: ${rest}`, INSTALL],
    ]);
  });

  it("that wait for a reboot are a notice without a time for it, and a warning if it did not happen", () => {
    const kernel = { reboot: now - 2 * DAY, packages: ["linux-image-6.12.5-amd64", "linux-base"] };
    const waits = "an update of linux-image-6.12.5-amd64, linux-base has waited for a reboot for 2 days";
    expect(found(kernel, "never")).toEqual([
      [`notice host updates updates.reboot: ${waits}, because rebootTime is never`, "systemctl reboot"],
    ]);
    expect(found(kernel)).toEqual([
      [`warning host updates updates.reboot: ${waits}, it should have been at 08:00 UTC`, "systemctl reboot"],
    ]);
    const anUpdate = "notice host updates updates.reboot: an update has waited for a reboot for";
    for (const [age, text] of [
      [1.5 * DAY, "1 day"],
      [HOUR, "less than a day"],
    ] as const) {
      const [[claim] = []] = found({ reboot: now - age }, "never");
      expect(claim).toBe(`${anUpdate} ${text}, because rebootTime is never`);
    }
  });
});

describe("disks", () => {
  it.each<[disk: string, told: Told[]]>([
    ["/ 89% 12%\n/mnt/convex - -\n", []],
    ["/ 90% 12%", [["warning volume disk disk[/]: is 90 % full", "du -xh --max-depth 2 / | sort -h | tail"]]],
    [
      "/mnt/convex 3% 100%",
      [["warning volume disk disk[/mnt/convex]: is 100 % full", "du -xh --max-depth 2 /mnt/convex | sort -h | tail"]],
    ],
  ])("%j", (disk, expected) => {
    expect(told(compareDisks(insideOf({ disk })))).toEqual(expected);
  });

  it("says what to grow", () => {
    const [root, volume] = compareDisks(insideOf({ disk: "/ 99% 1%\n/mnt/convex 99% 1%" }));
    expect(root?.repair).toMatchObject({ why: "find the largest folders" });
    expect(volume?.repair).toMatchObject({ why: "grow it with volumeSizeGb, or find the largest folders" });
  });
});

describe("listeners", () => {
  const line = (address: string, process = 'users:(("sshd",pid=1,fd=3))') =>
    `LISTEN 0 128 ${address} 0.0.0.0:* ${process}`;
  const found = (...lines: string[]) => told(compareListeners(state, insideOf({ listeners: lines.join("\n") })));

  it("that are declared or local are not found", () => {
    const addresses = ["0.0.0.0:22", "[::]:22", "*:22", "172.30.0.1:5432", "0.0.0.0:3210", "127.0.0.53%lo:53"];
    expect(found(...addresses.map((address) => line(address)), line("[::1]:25"), line("[::ffff:127.0.0.1]:9"))).toEqual(
      [],
    );
  });

  it.each<[address: string, process: string | undefined, ...told: Told]>([
    [
      "[::]:8080",
      'users:(("nc",pid=7,fd=3))',
      "warning host listeners listeners.[::]:8080: nc listens there, nothing declares it",
      "ss -ltnp 'sport = :8080'",
    ],
    [
      "0.0.0.0:5432",
      "",
      "warning host listeners listeners.0.0.0.0:5432: some process listens there, nothing declares it",
      "ss -ltnp 'sport = :5432'",
    ],
    [
      "10.0.0.1%eth1:22",
      undefined,
      "warning host listeners listeners.10.0.0.1%eth1:22: sshd listens there, nothing declares it",
      "ss -ltnp 'sport = :22'",
    ],
  ])("%s by %s is found", (address, process, claim, repair) => {
    expect(found(line(address, process))).toEqual([[claim, repair]]);
  });
});
