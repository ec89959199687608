import { createHash } from "node:crypto";

import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { type Lab, openLab } from "./droplet-harness.ts";
import { SCRIPTS } from "../../contract/scripts.ts";
import { hostValues, Machine } from "./machine-harness.ts";

/** Volumes with foreign data; `dirty` writes it from outside of the droplet. */
const FOREIGN = [
  {
    name: "ext4-of-somebody",
    filesystem: { type: "ext4", label: "family-photos" },
    found: "contains ext4 labelled 'family-photos'",
  },
  { name: "ext4-unlabelled", filesystem: { type: "ext4" }, found: "contains ext4 labelled ''" },
  // The right label is not enough if the file system is another one.
  { name: "xfs", filesystem: { type: "xfs", label: "convex-data" }, found: "contains xfs labelled 'convex-data'" },
  { name: "partitioned", dirty: partitionTable, found: "contains dos labelled ''" },
  { name: "swap", dirty: (disk: string) => execa("mkswap", [disk]), found: "contains swap labelled ''" },
] as const;

let lab: Lab;
let droplet: Machine;
let unmade: Machine;

beforeAll(async () => {
  lab = await openLab();
  const volumeIds: string[] = [];
  for (const [index, volume] of FOREIGN.entries()) {
    const id = `foreign-${index}`;
    const filesystem = "filesystem" in volume ? { filesystem: volume.filesystem } : {};
    await lab.room.createVolume({ id, name: volume.name, sizeGigabytes: 1, ...filesystem });
    if ("dirty" in volume) await volume.dirty(`${lab.home.root}/volumes/${id}`);
    volumeIds.push(id);
  }
  await lab.room.createVolume({ id: "blank", name: "blank", sizeGigabytes: 1 });
  const filesystem = { type: "ext4", label: "convex-data" } as const;
  await lab.room.createVolume({ id: "instance", name: "instance", sizeGigabytes: 1, filesystem });
  droplet = await Machine.create(lab, { ...lab.spec(1), volumeIds: [...volumeIds, "blank", "instance"] });
  unmade = await Machine.create(lab, lab.spec(2, { bootcmd: ["echo the tape is full; exit 3"] }));
});

afterAll(() => lab[Symbol.asyncDispose]());

/** Writes a boot sector with one partition that starts at the first megabyte. */
async function partitionTable(disk: string): Promise<void> {
  const entry = Buffer.from([0x80, 0, 2, 0, 0x83, 0xff, 0xff, 0xff, 0, 8, 0, 0, 0, 0, 0x10, 0]);
  const sector = Buffer.alloc(512);
  entry.copy(sector, 446);
  sector.writeUInt16LE(0xaa55, 510);
  await execa("dd", [`of=${disk}`, "conv=notrunc"], { input: sector });
}

/** Copies a volume's whole content from outside of the droplet, and gives a function that compares it later. */
async function snapshot(volumeId: string): Promise<() => Promise<{ changed: boolean }>> {
  const disk = `${lab.home.root}/volumes/${volumeId}`;
  await execa("cp", ["--sparse=always", disk, `${disk}.before`]);
  return async () => {
    await execa("sync");
    const { exitCode } = await execa("cmp", ["--silent", disk, `${disk}.before`], { reject: false });
    return { changed: exitCode !== 0 };
  };
}

describe("a volume with data on it", () => {
  it.each(FOREIGN.map((volume, index) => ({ ...volume, id: `foreign-${index}` })))(
    "is refused and not changed: $name",
    async ({ id, name, found }) => {
      const compared = await snapshot(id);
      const run = await droplet.run(
        "host/volume.sh prepare",
        hostValues({ volume: name, sizeGb: 1, mountpoint: `/mnt/${name}` }),
      );
      expect(run.output).toContain(`volume.sh: error: volume ${name}: ${found}, it should be blank or ext4 labelled`);
      expect(run.output).toContain("Nothing was written. Keep that data and use another volume");
      expect(run.exitCode).toBe(1);
      expect(await compared()).toEqual({ changed: false });
      expect(await droplet.sh(`findmnt /mnt/${name} || echo not mounted`)).toBe("not mounted");
    },
  );
});

describe("a volume to adopt", () => {
  const secretHash = createHash("sha256").update("5ecret").digest("hex");
  const prepare = (volume: string, name: string, hash = secretHash) =>
    droplet.run(
      "host/volume.sh prepare",
      hostValues({ volume, sizeGb: 1, mountpoint: `/mnt/${volume}`, adopted: { name, secretHash: hash } }),
    );

  beforeAll(async () => {
    await droplet.sh(
      `mount /dev/disk/by-id/scsi-0DO_Volume_instance /mnt && mkdir -p /mnt/data/credentials && ` +
        "echo old > /mnt/data/credentials/instance_name && echo 5ecret > /mnt/data/credentials/instance_secret && " +
        "touch /mnt/instance && umount /mnt",
    );
  });

  it.each([
    ["without an instance", "ext4-of-somebody", "old", secretHash, "has no instance that a stack has accepted"],
    ["that is blank", "blank", "old", secretHash, "has no instance that a stack has accepted"],
    ["of another instance", "instance", "new", secretHash, "has instance old, it should have new"],
    ["with another secret", "instance", "old", "0".repeat(64), "has instance old with another secret"],
  ])("%s is refused and not changed", async (_, name, instance, hash, found) => {
    const compared = await snapshot(name === "ext4-of-somebody" ? "foreign-0" : name);
    const run = await prepare(name, instance, hash);
    expect(run.output).toContain(`volume.sh: error: volume ${name}: ${found}`);
    expect(run.output).toMatch(/Nothing was\s+written to it/);
    expect(run.exitCode).toBe(1);
    expect(await compared()).toEqual({ changed: false });
    expect(await droplet.sh(`findmnt /mnt/${name} || echo not mounted`)).toBe("not mounted");
  });

  it("has a secret that can be read before it is accepted", async () => {
    await droplet.sh("mkdir -p /etc/convex-droplet && echo VOLUME=instance > /etc/convex-droplet/volume.env");
    expect(await droplet.sh(`bash ${SCRIPTS}/host/volume.sh secret`)).toBe("5ecret");
  });

  it("is mounted if it has the instance", async () => {
    expect((await prepare("instance", "old")).output).toContain("mounted volume instance");
  });
});

describe("a droplet that reaches no package mirror", () => {
  const run = () => droplet.run("host/host.sh", hostValues({ volume: "blank", sizeGb: 1 }));

  it("reports the packages that cannot be installed, with apt's own messages", async () => {
    await droplet.sh(
      "mkdir /root/apt && cp -a /etc/apt/sources.list* /root/apt && rm -rf /etc/apt/sources.list.d && " +
        "echo 'deb http://127.0.0.1:9/debian trixie main' > /etc/apt/sources.list && rm -rf /var/lib/apt/lists/*",
    );
    const refused = await run();
    expect(refused.output).toContain("127.0.0.1:9");
    expect(refused.output).toMatch(
      /host\.sh: error: packages .*docker\.io.*: could not be installed, apt's last lines are above\. Make sure that the droplet reaches its package mirror, then run npx pulumi up again$/,
    );
    expect(refused.exitCode).toBe(1);
  });

  it("continues where it stopped when the mirror is back", async () => {
    await droplet.sh("rm -rf /etc/apt/sources.list* && cp -a /root/apt/. /etc/apt/");
    const done = await run();
    expect(done.output).toMatch(/host\.sh: done, \d+ changed$/);
    expect(done.exitCode).toBe(0);
    expect(await droplet.sh("docker version --format '{{.Server.Os}}'; findmnt -no TARGET /mnt/convex")).toBe(
      "linux\n/mnt/convex",
    );
    const again = await run();
    expect(again.output).toMatch(/host\.sh: unchanged$/);
  });
});

describe("a droplet whose cloud-init failed", () => {
  it("is not used; its last log lines show why, and the message how to replace it", async () => {
    const run = await unmade.run("host/host.sh", hostValues({ volume: "blank", sizeGb: 1 }));
    expect(run.output).toContain("the tape is full");
    expect(run.output).toMatch(
      /host\.sh: error: cloud-init: failed, its last lines are above\. .* replace it with npx pulumi up --replace '\*\*convex-droplet'$/,
    );
    expect(run.exitCode).toBe(1);
    expect(await unmade.sh("ls /etc/convex-droplet 2>&1 || true")).toContain("No such file");
  });
});
