import { randomInt } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { SCRIPTS } from "../../contract/scripts.ts";
import { useDomain } from "../../sandbox/domain.ts";
import { publishRevision } from "../../sandbox/images/build.ts";
import { contentsOf } from "../e2e/contents.ts";
import { startPulumi } from "../e2e/ended-up.ts";
import { eventually, type Run, ssh, TestCloud } from "../e2e/harness.ts";
import { useNames } from "../e2e/names.ts";
import { readFile, readRow, writeFile, writeRow } from "../e2e/probe.ts";
import { succeeded } from "../e2e/succeeded.ts";
import { stepByStep } from "../steps.ts";
import { DEPLOYED, DisturbedStack } from "./disturbed.ts";
import { randomNumbers } from "./random.ts";

// Disturbs one stack again and again: cuts power and SSH, kills services, fills disks. Afterwards, the instance must serve by itself or
// after the same command, with all rows and files, and with nothing left over in the account. disturbed.ts names the variable
// that writes the table of docs/crashes.md.
//
//   CONVEX_DROPLET_CRASHES_SEED=NUMBER   the random moments of an earlier run, which has printed this number

const STACK = "crashed";
const URL = "https://api.convex.test";
const UP = ["up", "--skip-preview"];
const REPLACE = [...UP, "--replace", "**convex-droplet"];
/** Longer than systemd lets a service fail again and again before it gives it up. */
const PATIENCE_MILLISECONDS = 40_000;
/** A row that shows that writes work, and does not count as content. */
const PULSE = "pulse";

const seed = Number(process.env["CONVEX_DROPLET_CRASHES_SEED"] ?? randomInt(2 ** 31));
const random = randomNumbers(seed);

/** The scripts that an `up` runs on the droplet. */
const RUN_BY_UP = readdirSync("components").flatMap((file) =>
  [...readFileSync(path.join("components", file), "utf8").matchAll(/runScript\(\s*"([^"]+)"/g)].map(
    ([, script = ""]) => script,
  ),
);

/** What can be killed, and how. Each has to come back by itself. */
const SERVICES = {
  PostgreSQL: "systemctl kill --kill-whom=main --signal=KILL postgresql@17-main.service",
  "the Docker daemon": "systemctl kill --kill-whom=main --signal=KILL docker.service",
  containerd: "systemctl kill --kill-whom=main --signal=KILL containerd.service",
  "the backend": "kill -KILL $(docker inspect --format '{{.State.Pid}}' convex-backend)",
  nginx: "systemctl kill --kill-whom=main --signal=KILL nginx.service",
};

/**
 * Kills Docker while it starts a container with the backend's ports, until it has lost them: one moment in the start does that, and about every
 * fourth kill hits it. The container disappears, as with a run that is repeated.
 */
const LOSE_PORTS = `
image=$(docker inspect --format '{{.Config.Image}}' convex-dashboard)
docker rm --force convex-backend
start() { docker run --detach --name killed --publish 127.0.0.1:3210:80 --publish 127.0.0.1:3211:81 --entrypoint sleep "$image" infinity 2>&1; }
for attempt in $(seq 60); do
  start > /dev/null &
  sleep "0.$((attempt % 6))$((RANDOM % 10))"
  systemctl kill --kill-whom=main --signal=KILL docker.service
  wait $!
  timeout 60 bash -c 'until docker version > /dev/null 2>&1; do sleep 0.05; done'
  docker rm --force killed > /dev/null 2>&1
  if start | grep --quiet "port is already allocated"; then docker rm --force killed; exit; fi
  docker rm --force killed > /dev/null
done
exit 1`;

let cloud: TestCloud;
let stack: DisturbedStack;
/** The id of a stored file. */
let file = "";
/** Volumes that belong to no stack. */
const removeLater: string[] = [];
/** The environment in which a program finds and trusts the stack's names. */
let named: Record<string, string>;
let keys: { key: string; hostKey: string };
/** How long each script has run, in seconds; the longest run counts. */
const lengths = new Map<string, number>();

beforeAll(async () => {
  console.log(`to repeat this run: CONVEX_DROPLET_CRASHES_SEED=${seed}`);
  cloud = await TestCloud.start();
  stack = new DisturbedStack(cloud, STACK);
  const settings = { size: "s-1vcpu-2gb", "allowedCidrs[0]": "127.0.0.0/8", backups: "spaces" };
  await cloud.createStack(STACK, settings);
  await cloud.configureSecretly(STACK, "functionEnvironment.GREETING", "hello");
  await useDomain(cloud.home, STACK, "convex.test");
  named = await useNames(cloud);
});

afterAll(async () => {
  stack.writeTable();
  await cloud[Symbol.asyncDispose]();
});

describe("a stack is completed by the same command, with all data,", { timeout: 900_000 }, () => {
  stepByStep();

  it("after power cuts during a first deployment", async () => {
    await stack.row("first deployment", "power cuts", () => withPowerCuts(UP, 6, 12));
    await expectComplete();
    const { sshPrivateKey = "", sshHostKey = "" } = await cloud.outputs(STACK);
    keys = { key: sshPrivateKey, hostKey: sshHostKey };
    await writeRow(URL, "first", "first");
    file = await writeFile(URL, "first");
  });

  it.each(Object.entries(SERVICES))("and serves without one, after a kill of %s", async (victim, kill) => {
    const before = await contents();
    await stack.row("the instance, while it serves", `a kill of ${victim}`, async () => {
      succeeded(await onDroplet(kill));
      await serves();
      return 0;
    });
    await expectSame(before);
  });

  it.each(Object.entries(SERVICES))("after a kill of %s during an up", async (victim, kill) => {
    const before = await contents();
    await toggle("postgresPoolSize", "32", "33");
    await stack.row("an up that restarts PostgreSQL and the backend", `a kill of ${victim}`, async () => {
      const up = start(UP);
      await sleep(2500 + 8000 * random());
      await onDroplet(kill);
      return (await up.ended).exitCode === 0 ? 1 : 1 + (await completed());
    });
    await serves();
    await expectSame(before);
  });

  // Docker was killed while it started a container, and one in some starts is killed at the moment at which it loses the ports.
  it("after Docker has lost the backend's ports", async () => {
    const before = await contents();
    await stack.row("the backend, without its container", "ports that Docker has lost", async () => {
      succeeded(await onDroplet(LOSE_PORTS));
      const up = await cloud.up(STACK, "--refresh", "--run-program");
      expect(up.exitCode, up.all).toBe(0);
      expect(up.all).toMatch(/Docker keeps port 321[01] of 127.0.0.1 for a container that is gone/);
      // The engine remembers the first attempt, and an update in which nothing changes ends that.
      return 1 + (await completed());
    });
    // Docker also forgets rules of the packet filter.
    const { all } = await cloud.operate("drift", STACK, [], named);
    const [, remove] = / ssh --stack \w+ '(nft delete rule [^']+)'/.exec(all) ?? [];
    if (remove !== undefined) succeeded(await onDroplet(remove));
    await serves();
    await expectSame(before);
  });

  it("after the services were killed", expectComplete);

  it("and serves without one, once a full volume has room again", async () => {
    const before = await contents();
    succeeded(await onDroplet(fill("/mnt/convex/filler")));
    await eventually("writes to be refused", 120, async () => {
      await onDroplet("cd / && runuser -u postgres -- psql -c 'SELECT pg_switch_wal()'");
      return writeRow(URL, PULSE, "full").then(
        () => false,
        () => true,
      );
    });
    await sleep(PATIENCE_MILLISECONDS);
    const doctor = await cloud.operate("doctor", STACK, [], named);
    expect(doctor.all).toContain("disk[/mnt/convex]: is 100 % full");
    expect(doctor.all).toMatch(/Start with volume: grow it with volumeSizeGb/);
    await toggle("postgresPoolSize", "32", "33");
    const up = await cloud.up(STACK);
    expect(up.all).toContain("PostgreSQL: does not start, because the volume is full. Grow it with volumeSizeGb");
    await stack.row("the instance, on a full volume", "room is made", async () => {
      succeeded(await onDroplet("rm -r /mnt/convex/filler"));
      await serves();
      return 0;
    });
    await expectSame(before);
    await stack.row("an up on a full volume", "room is made", async () => 1 + (await completed()));
    await expectSame(before);
    succeeded(await onDroplet(fill("/mnt/convex/filler")));
    await cloud.configure(STACK, "volumeSizeGb", "110");
    await stack.row("the instance, on a full volume", "an up grows the volume", completed);
    await expectSame(before);
    succeeded(await onDroplet("rm -r /mnt/convex/filler"));
    await expectComplete();
  });

  it("after power cuts during an upgrade", async () => {
    const before = await contents();
    const { backend, dashboard } = await publishRevision(cloud.home, { metadataVersion: 129 });
    await cloud.configure(STACK, "backendImage", backend);
    await cloud.configure(STACK, "dashboardImage", dashboard);
    await stack.row("an up with new images", "power cuts", () => withPowerCuts(UP, 5, 5));
    await expectSame(before);
    await expectComplete();
  });

  it("after power cuts during a change of the droplet's size", async () => {
    const before = await contents();
    await toggle("size", "s-2vcpu-2gb", "s-1vcpu-2gb");
    await stack.row("an up with another size", "power cuts", () => withPowerCuts(UP, 4, 6));
    await expectSame(before);
    await expectComplete();
  });

  it("after SSH was cut inside each script", async () => {
    const before = await contents();
    await stack.row("replacement of the droplet", "SSH is cut inside each script", cutInsideScripts);
    await expectSame(before);
    await expectComplete();
  });

  it("and serves all the time, if the root disk is full", async () => {
    const volume = await useSmallRootDisk();
    await serves();
    const before = await contents();
    succeeded(await onDroplet(fill("/var/filler")));
    await serves();
    await toggle("postgresPoolSize", "32", "33");
    const up = await cloud.up(STACK);
    expect(up.all).toMatch(/No space left on device\n.*error: \/etc\/\S+: cannot be written/);
    await serves();
    succeeded(await onDroplet(SERVICES["the Docker daemon"]));
    await sleep(PATIENCE_MILLISECONDS);
    await stack.row("Docker, killed on a full root disk", "room is made", async () => {
      succeeded(await onDroplet("rm -r /var/filler"));
      await serves();
      return 0;
    });
    await stack.row("an up on a full root disk", "room is made", async () => 1 + (await completed()));
    await expectSame(before);
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    // With the droplet, the volume is free.
    removeLater.push(volume);
  });

  it("after power cuts during the replacement of the droplet", async () => {
    const before = await contents();
    await stack.row("replacement of the droplet", "power cuts", () => withPowerCuts(REPLACE, 5, 12));
    await expectSame(before);
    for (const id of removeLater) expect((await cloud.cloud("DELETE", `/v2/volumes/${id}`)).status).toBe(204);
    await expectComplete();
  });
});

/** Starts a command on the stack, as in a terminal. */
function start(words: string[]) {
  return startPulumi(cloud, [...words, "--stack", STACK]);
}

/** Repeats an `up` until it succeeds. Returns how often it ran. */
function completed(): Promise<number> {
  return stack.completed(async (more) => {
    const run = await cloud.pulumi([...UP, ...more, "--yes", "--stack", STACK]);
    note(run);
    return run;
  });
}

/**
 * Cuts the power at a random moment of each of these runs, unless one has ended before; it is back at once, or after half a minute. Then
 * completes the work.
 *
 * @param words  of the first run
 * @param seconds  in which a moment is, after the run has begun to work on the droplet
 * @returns how often the command ran
 */
async function withPowerCuts(words: string[], cuts: number, seconds: number): Promise<number> {
  for (let run = 0; run < cuts; run += 1) {
    const replaced = words === REPLACE && run === 0 ? (await droplets())[0]?.id : undefined;
    const up = start(run === 0 ? words : UP);
    const hasEnded = up.ended.then(() => undefined);
    // Before that, the program only starts.
    const there = await Promise.race([hasEnded, Promise.all([dropletThere(replaced), sleep(3000)])]);
    const isTime = await Promise.race([hasEnded, sleep(1000 * seconds * random(), true)]);
    if (there !== undefined && isTime === true) await cutPower(there[0], random() < 0.5 ? 0 : 30);
    const ended = await up.ended;
    note(ended);
    console.log(`run ${run + 1}: ${ended.exitCode}, ${lastLines(ended)}`);
    if (isTime === undefined) return run + 1 + (ended.exitCode === 0 ? 0 : await completed());
  }
  return cuts + (await completed());
}

/** Waits for a droplet that runs and is not this one. */
function dropletThere(other: number | undefined): Promise<string> {
  return eventually("a droplet", 300, async () => {
    const [found] = await droplets();
    return found?.status === "active" && found.id !== other && String(found.id);
  });
}

interface Droplet {
  id: number;
  status: string;
  networks: { v4: { type: string; ip_address: string }[] };
}

const droplets = () => stack.listed<Droplet>("/v2/droplets", "droplets");

/** Cuts the power, also if the cloud works on the droplet. If it is off because of that, there is nothing to cut. */
async function cutPower(droplet: string, seconds: number): Promise<void> {
  const act = (type: string) =>
    eventually(`${type} to be accepted`, 60, async () => {
      try {
        await cloud.actOnDroplet(droplet, type);
        return "done";
      } catch (error) {
        if (!String(error).includes("already powered")) throw error;
        return "needless";
      }
    });
  // Switched on now, it would not be off when DigitalOcean's provider first looks, and the provider would wait for an hour.
  if ((await act("power_off")) === "needless") return;
  await sleep(1000 * seconds);
  await act("power_on");
  stack.note("the droplet was switched on");
}

/** Cuts SSH inside each script that an `up` runs on a new droplet. Returns how often the command ran. */
async function cutInsideScripts(): Promise<number> {
  const run: string[] = [];
  for (const script of RUN_BY_UP) if ((await resourcesOf([script])).length > 0) run.push(script);
  const left = new Map(run.map((script) => [script, 0.8 * random()]));
  let [runs, words] = [0, REPLACE];
  while (left.size > 0) {
    const up = start(words);
    const cut: string[] = [];
    do {
      cut.push(...(await cutOnce(left)));
    } while (!(await Promise.race([up.ended.then(() => true), sleep(0, false)])));
    const ended = await up.ended;
    runs += 1;
    console.log(`SSH is cut inside ${cut.join(", ")}: ${ended.exitCode}, ${lastLines(ended)}`);
    for (const script of cut) left.delete(script);
    expect(ended.exitCode === 0, ended.all).toBe(cut.length === 0);
    expect(ended.all.includes("the SSH connection to the droplet broke"), ended.all).toBe(cut.length > 0);
    words = UP;
    if (ended.exitCode === 0) {
      // The others had ended before their moments.
      for (const [script, share] of left) left.set(script, share / 2);
      words = [...UP, ...(await resourcesOf([...left.keys()])).flatMap((name) => ["--replace", `**${name}`])];
    }
  }
  return runs + (await completed());
}

/** Cuts SSH inside the scripts that run now or start in the next seconds. Returns those. */
async function cutOnce(left: Map<string, number>): Promise<string[]> {
  const moments = [...left].map(([script, share]) => {
    const length = lengths.get(path.basename(script)) ?? 1;
    return `[${script}]=${(share * length).toFixed(2)}`;
  });
  const command = `
    declare -A moments=( ${moments.join(" ")} )
    sever() {
      sleep "$2"
      local pid=$1 name
      while ((pid > 1)) && name=$(cat /proc/$pid/comm 2> /dev/null) && [[ $name != sshd* ]]; do pid=$(awk '{print $4}' /proc/$pid/stat); done
      if [[ $name == sshd* ]]; then kill -KILL "$pid"; echo "$3"; fi
    }
    end=$((SECONDS + 3))
    while ((SECONDS < end)); do
      while read -r pid script; do
        if [[ -v moments[$script] ]]; then
          sever "$pid" "\${moments[$script]}" "$script" &
          unset "moments[$script]"
        fi
      done < <(pgrep -af '[t]imeout --foreground .*${SCRIPTS}/' | sed 's|^\\([0-9]*\\) .*${SCRIPTS}/|\\1 |')
      sleep 0.1
    done
    wait`;
  const { stdout, exitCode } = await onDroplet(command).catch(() => ({ stdout: "", exitCode: 255 }));
  // The droplet boots, or is being replaced.
  if (exitCode !== 0) await sleep(500);
  return stdout.split("\n").filter((script) => left.has(script));
}

/** The command that fills the file system of a folder, to the last byte. */
function fill(folder: string): string {
  return `mkdir ${folder} && cd ${folder} && number=0
    for size in 64G 16G 4G 1G 256M 64M 16M 4M 1M 256K 64K 16K 4K; do
      while fallocate --length $size $number 2> /dev/null; do number=$((number + 1)); done
      rm -f $number
    done
    df . && [[ $(df --output=avail . | tail -n 1) -eq 0 ]]`;
}

/**
 * Moves the folders of the droplet's disk that anything writes to onto a small disk, which can be filled: here, a droplet's own disk is
 * as large as this computer's.
 *
 * @returns the id of the volume that is this disk
 */
async function useSmallRootDisk(): Promise<string> {
  const [droplet] = await droplets();
  const made = await cloud.cloud("POST", "/v2/volumes", { name: "root-disk", region: "nyc3", size_gigabytes: 8 });
  const { volume } = (await made.json()) as { volume: { id: string } };
  const attach = { type: "attach", droplet_id: droplet?.id, region: "nyc3" };
  expect((await cloud.cloud("POST", `/v2/volumes/${volume.id}/actions`, attach)).status).toBe(202);
  succeeded(
    await onDroplet(`
      set -e
      device=/dev/disk/by-id/scsi-0DO_Volume_root-disk
      for ((tries = 0; tries < 100; tries++)); do [[ ! -b $device ]] || break; sleep 0.2; done
      mkfs.ext4 -q $device && mkdir /mnt/root-disk && mount $device /mnt/root-disk
      services=(docker.service containerd.service nginx.service postgresql@17-main.service)
      systemctl stop docker.socket "\${services[@]}" 2>&1
      for folder in /var /etc /usr/local; do
        mkdir -p /mnt/root-disk$folder
        cp -a $folder/. /mnt/root-disk$folder
        mount --bind /mnt/root-disk$folder $folder
      done
      systemctl start "\${services[@]}"`),
  );
  return volume.id;
}

/** The names of the resources that run these scripts. */
async function resourcesOf(scripts: string[]): Promise<string[]> {
  const { stdout } = await cloud.pulumi(["stack", "export", "--stack", STACK]);
  const { deployment } = JSON.parse(stdout) as {
    deployment: { resources: { urn: string; inputs?: { create?: string } }[] };
  };
  return scripts.flatMap((script) =>
    deployment.resources.flatMap(({ urn, inputs }) =>
      inputs?.create?.includes(`${SCRIPTS}/${script} `) === true ? [urn.split("::").at(-1) ?? ""] : [],
    ),
  );
}

/** Notes how long the scripts of a run have taken. */
function note({ all }: Run): void {
  for (const [, seconds = "", script = ""] of all.matchAll(/ed \(([\d.]+)s\) ([a-z]+\.sh):/g)) {
    lengths.set(script, Math.max(lengths.get(script) ?? 0, Number(seconds)));
  }
}

function lastLines({ all }: Run): string {
  return (
    all
      .match(/error: .*/g)
      ?.slice(0, 3)
      .join(" / ")
      .slice(0, 600) ?? ""
  );
}

/** Gives a setting one of two values, which it does not have. */
async function toggle(key: string, one: string, other: string): Promise<void> {
  const { stdout } = await cloud.pulumi(["config", "get", key, "--stack", STACK]);
  await cloud.configure(STACK, key, stdout.trim() === one ? other : one);
}

/** Runs a command on the stack's present droplet, as root. */
async function onDroplet(command: string): Promise<Run> {
  const [droplet] = await droplets();
  const host = droplet?.networks.v4.find(({ type }) => type === "public")?.ip_address ?? "";
  return ssh({ host, ...keys }, command);
}

function contents(until?: string) {
  return contentsOf(async (command) => {
    const { exitCode, stdout, all } = await onDroplet(command);
    expect(exitCode, all).toBe(0);
    return stdout;
  }, until);
}

async function expectSame(before: { until: string }): Promise<void> {
  await serves();
  expect(await contents(before.until)).toEqual(before);
}

function expectComplete(): Promise<void> {
  return stack.expectComplete({ ...DEPLOYED, domains: 1 }, [22, 80, 443]);
}

/** Waits until the instance serves: writes and reads. */
async function serves(): Promise<void> {
  const served = eventually("the instance to serve", 180, async () => {
    await fetch(`${URL}/version`, { signal: AbortSignal.timeout(5000) });
    const now = String(Date.now());
    await writeRow(URL, PULSE, now);
    expect(await readRow(URL, PULSE)).toBe(now);
    expect(await readFile(URL, file)).toBe("first");
  });
  await served.catch(async (cause: unknown) => {
    const { all } = await cloud.operate("doctor", STACK, [], named);
    throw new Error(`${String(cause)}\n${all}`, { cause });
  });
}
