import type { State } from "../../state.ts";
import { pulumiCommand } from "../../../contract/commands.ts";
import { npmCommand } from "../../typed.ts";
import { bucketServer, hasBackups, isManaged } from "../expected.ts";
import { json } from "../facts.ts";
import { type Finding, findingsBy } from "../finding.ts";
import type { Inside } from "../inside.ts";
import { type Repair, RUN_BACKUPS } from "../repair.ts";
import { DAY, HOUR, MINUTE, span } from "../../span.ts";
import { isUntouched, waysOn } from "./interrupted.ts";

/** How old the last record of a job may be, in seconds. */
export const OLDEST = { point: 15 * MINUTE, base: 26 * HOUR, drill: 8 * DAY };

/** The same for dumps of a managed database and copies of files in buckets, which are made every hour. */
export const OLDEST_DUMP = 3 * HOUR;

/** The units of the jobs. What they fail of is found here, with its cause. */
export const JOBS = ["convex-restore-point", "convex-base-backup", "convex-dump", "convex-objects", "convex-drill"].map(
  (job) => `units[${job}.service]`,
);

/** The facts that machine/backups/facts.sh describes. */
interface Jobs {
  now: number;
  point: Job<{ at: string }>;
  /** With a managed database, there is none. */
  base?: Job<{ at: string }>;
  /** Only with files in buckets; with a managed database, a restore point makes it. */
  objects?: Job<{ at: string }>;
  drill: Job<{ started: string; result: string; problems: string[] }>;
}

interface Job<Record> {
  last: Record | null;
  since: number | null;
  running: boolean;
  result: string;
  ended: number | null;
  cause: string;
}

interface Archive {
  now: number;
  archived: number | null;
  failed: number | null;
  wal: string | null;
  failures: number;
  waiting: number;
  oldest: number | null;
  gap: boolean;
  cause: string;
}

interface Restores {
  phase: string | null;
  request: string;
  to: string;
  running: boolean;
  kept: string[];
}

/** Whether the backups are made, complete, and proved by drills. Without backups, only a notice. */
export function compareBackups(state: State, inside: Inside): Finding[] {
  const has = hasBackups(state);
  if (has === undefined) return [];
  if (!has && isKeptByCloud(state)) return [];
  if (!has) {
    const { notice } = findingsBy("the stack's state", "backups");
    const set = pulumiCommand(state.stack, "config set", "backups spaces");
    const why = `switch them on with: ${set}, then: ${pulumiCommand(state.stack, "up")}`;
    const message = isManaged(state) ? FILES_OFF : OFF;
    return [notice("backups", { found: "off", message }, { why })];
  }
  return [
    ...from<Jobs>(inside, "backups.jobs", (jobs) => [
      ...latePoint(state, jobs),
      ...lateBackup(state, jobs),
      ...lateCopy(state, jobs),
      ...missingDrill(state, jobs),
    ]),
    ...(isManaged(state) ? [] : from<Archive>(inside, "backups.archive", (archive) => compareArchive(state, archive))),
    ...from<Restores>(inside, "backups.restores", (restores) => compareRestores(state, restores)),
  ];
}

/** What it means that a stack has no backups. */
export const OFF = "are off, so what is lost with the volume cannot be restored";

/** The same for a stack whose database is managed. */
export const FILES_OFF = "are DigitalOcean's own of the database, for 7 days, but the files on the volume have none";

/** The same for a stack that keeps its data in the cloud. */
export const BY_CLOUD = "are DigitalOcean's own of the database, for 7 days; the files are in buckets";

/** Whether nothing is lost with the volume, because the database is managed and the files are in buckets. */
export function isKeptByCloud(state: State): boolean {
  return isManaged(state) && bucketServer(state) !== undefined;
}

/** A line about healthy backups, for a person. */
export function describeBackups(state: State, inside: Inside): string {
  if (hasBackups(state) === false) return isKeptByCloud(state) ? BY_CLOUD : isManaged(state) ? FILES_OFF : OFF;
  const jobs = json<Jobs>(inside, "backups.jobs");
  if (jobs === undefined) return "are on";
  const { now, point, base, drill } = jobs;
  const last = (name: string, time: string | undefined) =>
    time === undefined ? `no ${name} yet` : `${name} ${span(now - seconds(time))} ago`;
  return [
    last("restore point", point.last?.at),
    ...(base === undefined ? [] : [last("backup", base.last?.at)]),
    last("drill", drill.last?.started),
  ].join(", ");
}

// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller knows what the fact contains
function from<T>(inside: Inside, fact: string, compare: (value: T) => Finding[]): Finding[] {
  const value = json<T>(inside, fact);
  if (value !== undefined) return compare(value);
  const reason = inside.facts.get(fact)?.text.trim().split("\n").at(-1) ?? "";
  const message = `could not be looked at${reason === "" ? "" : `: ${reason}`}`;
  return [findingsBy(fact, "backups").error(fact, { message }, RUN_BACKUPS)];
}

const { error } = findingsBy("backups.jobs", "backups");

/** The timer makes a restore point every minute, with dumps every hour. Dumps may take long. */
function latePoint(state: State, { now, point }: Jobs): Finding[] {
  const limit = isManaged(state) ? OLDEST_DUMP : OLDEST.point;
  const late =
    isManaged(state) && point.running
      ? undefined
      : lateness(point, point.last?.at, now, { limit, never: limit, settle: limit });
  if (late === undefined) return [];
  const running = point.running && point.cause === "" ? "; one is being made now" : "";
  return [error("backups.restore-point", withCause(late, point, running), again(state, point, ["backup", "now"]))];
}

/** The timer makes a backup every night, and after a boot if it missed one. */
function lateBackup(state: State, { now, base }: Jobs): Finding[] {
  if (base === undefined) return [];
  const late =
    lastFailed(base, base.last?.at) ??
    (base.running ? undefined : lateness(base, base.last?.at, now, { limit: OLDEST.base, never: HOUR, settle: HOUR }));
  if (late === undefined) return [];
  return [error("backups.backup", withCause(late, base), again(state, base, ["backup", "now"]))];
}

/** The timer copies the files in buckets every hour. The first copy may take long. */
function lateCopy(state: State, { now, objects }: Jobs): Finding[] {
  if (objects === undefined || objects.running) return [];
  const limits = { limit: OLDEST_DUMP, never: OLDEST_DUMP, settle: OLDEST_DUMP };
  const late = lastFailed(objects, objects.last?.at) ?? lateness(objects, objects.last?.at, now, limits);
  return late === undefined
    ? []
    : [error("backups.files", withCause(late, objects), again(state, objects, ["backup", "now"]))];
}

/** The timer makes a drill every week. */
function missingDrill(state: State, { now, drill }: Jobs): Finding[] {
  const { last } = drill;
  const repair = again(state, drill, ["drill"]);
  if (last?.result === "failed") {
    const problems = last.problems.join("; ");
    const message = `failed on ${last.started}, so the backups may not be restorable: ${problems}`;
    return [error("backups.drill", { expected: "ok", found: "failed", message }, repair)];
  }
  const late =
    lastFailed(drill, last?.started) ??
    (drill.running
      ? undefined
      : lateness(drill, last?.started, now, { limit: OLDEST.drill, never: 8 * DAY, settle: HOUR }));
  return late === undefined ? [] : [error("backups.drill", withCause(late, drill), repair)];
}

interface Late {
  expected: string;
  found: string;
  message: string;
}

/**
 * How late a job is; undefined if it is not.
 *
 * @param limits  in seconds: the age that its last record may have, how long its timer may run before the first one, and
 *   how long after a boot nothing is late
 */
function lateness(
  { since }: Job<unknown>,
  last: string | undefined,
  now: number,
  { limit, never, settle }: { limit: number; never: number; settle: number },
): Late | undefined {
  const expected = `less than ${span(limit)} old`;
  const running = now - (since ?? now);
  if (last === undefined) {
    if (running <= never) return undefined;
    return {
      expected,
      found: "none",
      message: `was never made, although its timer has been active for ${span(running)}`,
    };
  }
  const age = now - seconds(last);
  if (age < limit || (since !== null && running <= settle)) return undefined;
  return { expected, found: `${span(age)} old`, message: `is ${span(age)} old, it should be ${expected}` };
}

/** Whether the last run of a job failed, and none was completed after it. */
function lastFailed({ result, ended, cause }: Job<unknown>, last: string | undefined): Late | undefined {
  const killed = result !== "success" && ended !== null && ended > (last === undefined ? 0 : seconds(last));
  if (cause === "" && !killed) return undefined;
  const how = cause === "" ? `: its service ended with ${result}` : "";
  return { expected: "made", found: "failed", message: `was not made when it was last tried${how}` };
}

function withCause(late: Late, { cause }: Job<unknown>, more = ""): Late {
  return { ...late, message: `${late.message}${cause === "" ? "" : `; the last error is: ${cause}`}${more}` };
}

/** Without its timer, a job never runs again by itself. */
function again({ stack }: State, { since }: Job<unknown>, [name = "", ...rest]: string[]): Repair {
  if (since === null) return RUN_BACKUPS;
  return { why: `fix the cause, then run: ${npmCommand(stack, name, ...rest)}` };
}

/** PostgreSQL tries a file again and again, so a file that waits for minutes has failed many times. */
function compareArchive(state: State, { now, archived, failed, oldest, waiting, wal, gap, cause }: Archive): Finding[] {
  const { error } = findingsBy("backups.archive", "backups");
  const findings: Finding[] = [];
  const waits = oldest === null ? 0 : now - oldest;
  if ((failed !== null && failed > (archived ?? 0)) || waits > 5 * MINUTE) {
    const last =
      archived === null
        ? "nothing of it has reached the bucket"
        : `the last part that did is ${span(now - archived)} old`;
    const why = "fix the cause; PostgreSQL tries again by itself, at least once a minute. For the log";
    const message =
      `does not reach the bucket: ${last}, files that wait: ${waiting}` +
      `${wal === null || failed === null ? "" : `, ${wal} failed ${span(now - failed)} ago`}${cause === "" ? "" : `. ${cause}`}`;
    findings.push(
      error(
        "backups.log",
        { expected: "archived", found: "waiting", message },
        { why, command: "grep -ahA 9 'ERROR: \\[' /var/log/postgresql/postgresql-*.log | tail -n 20" },
      ),
    );
  }
  if (gap) {
    const why = `once the bucket can be reached, run: ${npmCommand(state.stack, "backup", "now")}`;
    const message =
      "has a gap: parts of PostgreSQL's log were dropped, as they could not be archived fast enough, " +
      "so no moment after the last restore point can be restored until there is a new backup";
    findings.push(error(["backups.log", "gap"], { expected: "none", found: "a gap", message }, { why }));
  }
  return findings;
}

function compareRestores({ stack }: State, { phase, request, to, running, kept }: Restores): Finding[] {
  const { error, notice } = findingsBy("backups.restores", "backups");
  const findings: Finding[] = [];
  if (phase !== null && !running) {
    const what = isUntouched({ phase, request })
      ? "it had changed nothing yet"
      : "the instance may be stopped until it is finished";
    const message = `to ${to} was interrupted: ${what}`;
    const why = waysOn(stack, { phase, request });
    findings.push(error("backups.restore", { expected: "finished", found: phase, message }, { why }));
  }
  if (phase !== null && running) {
    findings.push(
      notice("backups.restore", { found: phase, message: `to ${to} is running` }, { why: "wait for its end" }),
    );
  }
  if (kept.length > 0 && phase === null) {
    const message = `what restores have replaced is still on the volume: ${kept.join(", ")}`;
    const why = `remove it with: ${npmCommand(stack, "restore", "--forget")}`;
    findings.push(notice("backups.kept", { found: kept, message }, { why }));
  }
  return findings;
}

function seconds(time: string): number {
  return Date.parse(time) / 1000;
}
