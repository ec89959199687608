import { readFile, writeFile } from "node:fs/promises";

import { pidFile } from "../../sandbox/cloud/serve.ts";
import { cloudFolder } from "../../sandbox/cloud/state.ts";
import type { TestCloud } from "../e2e/harness.ts";
import { loadOnDroplet, rowOf } from "./droplet-load.ts";
import type { Answered } from "./load.ts";
import { table } from "./statistics.ts";

const STACK = "backup";
/** Few, so that the backend has time to answer: with many, a request mostly waits for the others. */
const CONNECTIONS = 4;
const SECONDS = 10;
/** Requests a second of each connection in the second measurement: a third of what the backend of the sandbox can answer. */
const STEADY = 100;
const FILLER_MEGABYTES = 1000;

/**
 * The same requests while nothing else runs, while a loop on each processor does nothing that the instance could notice except that
 * it is there, and while full backups are made; one entry for each round. What the loops cost is this computer's own: a virtual
 * machine is often slower as soon as all its processors are busy.
 */
interface Compared {
  quiet: Answered[];
  loops: Answered[];
  during: Answered[];
}

/** How the jobs of the backups run. */
const AS_JOB =
  "systemd-run --quiet --slice=backups.slice --property=CPUSchedulingPolicy=idle --property=IOSchedulingClass=idle";

export interface BackupResults {
  /** As many requests as the backend can answer: the backup competes for the processor. */
  most: Compared;
  /** The same number of requests a second, as from an app. */
  steady: Compared;
  /** How many full backups were completed. */
  backups: number;
}

/** Deploys a stack with backups and a gigabyte of data, and measures `/api/query` on the backend's own port, in turns. */
export async function measureBackup(cloud: TestCloud, rounds: number): Promise<BackupResults> {
  await cloud.createStack(STACK, { backups: "spaces" });
  const up = await cloud.up(STACK);
  if (up.exitCode !== 0) throw new Error(up.all);
  const onDroplet = async (command: string) => {
    const { exitCode, all } = await cloud.onDroplet(STACK, command);
    if (exitCode !== 0) throw new Error(all);
    return all.trim();
  };
  await onDroplet(`cd / && runuser -u postgres -- psql -qd convex_self_hosted << 'END'
CREATE TABLE filler AS
SELECT string_agg(gen_random_uuid()::text, '') AS noise FROM generate_series(1, ${FILLER_MEGABYTES * 27}) AS page, generate_series(1, 1024) GROUP BY page;
CHECKPOINT;
END`);
  await deferSpaces(cloud);
  const load = { host: "127.0.0.1", connections: CONNECTIONS, seconds: SECONDS };
  const asks = {
    most: await loadOnDroplet(cloud, load),
    steady: await loadOnDroplet(cloud, { ...load, perSecond: STEADY }),
  };
  const none = (): Compared => ({ quiet: [], loops: [], during: [] });
  const results: BackupResults = { most: none(), steady: none(), backups: 0 };
  const askBoth = async (when: keyof Compared) => {
    for (const pace of ["most", "steady"] as const) {
      results[pace][when].push(await asks[pace]("http://127.0.0.1:3210/api/query"));
    }
  };
  for (let round = 1; round <= rounds; round += 1) {
    await askBoth("quiet");
    await onDroplet(
      `${AS_JOB} --unit=bench-loops bash -c 'for _ in $(seq $(nproc)); do while :; do :; done & done; wait'`,
    );
    await askBoth("loops");
    await onDroplet("systemctl stop bench-loops");
    // One after the other.
    await onDroplet(`${AS_JOB} --unit=bench-backup --uid=postgres \
      bash -c 'cd /; while pgbackrest --stanza=$(sed -n "s/^\\[\\(.*-.*\\)\\]/\\1/p" /etc/pgbackrest/pgbackrest.conf) --type=full --start-fast backup; do :; done'`);
    await askBoth("during");
    await onDroplet("systemctl stop bench-backup || true");
  }
  results.backups = Number(await onDroplet("cd / && runuser -u postgres -- pgbackrest info | grep -c 'full backup'"));
  await cloud.pulumi(["destroy", "--yes", "--skip-preview", "--stack", STACK]);
  return results;
}

/** Gives the sandbox's Spaces only the processor time that nothing else wants: real ones are other computers. */
async function deferSpaces(cloud: TestCloud): Promise<void> {
  const pid = await readFile(pidFile(await cloudFolder(cloud.home)), "utf8");
  await writeFile(`/proc/${pid.trim()}/autogroup`, "19").catch(() => {
    process.stderr.write("This kernel has no autogroups, so the S3 server takes processor time from the droplet.\n");
  });
}

export function reportBackup({ most, steady, backups }: BackupResults): string {
  const compared = (pace: string, { quiet, loops, during }: Compared, aim: string) => {
    const against = (what: string, others: Answered[], aimed: string) => {
      const row = rowOf(during, others);
      return table([
        ["", "during a backup", what, "ratio", "aim"],
        row("requests per second", "perSecond", ""),
        row("median, ms", "p50", ""),
        row("99th percentile, ms", "p99", aimed),
      ]);
    };
    return [
      `\n/api/query while full backups are made, ${CONNECTIONS} connections, ${pace}; medians of ${quiet.length} rounds of ${SECONDS} s\n`,
      against("without", quiet, aim),
      against("beside idle loops", loops, ""),
    ].join("\n");
  };
  return [
    compared("as many requests as it answers", most, ""),
    compared(`${CONNECTIONS * STEADY} requests a second`, steady, "≤ 1.2"),
    `\n${backups} backups are kept\n`,
  ].join("");
}
