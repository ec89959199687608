import { npmCommand } from "../typed.ts";

/** A backup of the whole database. */
export interface Backup {
  /** pgBackRest's name for it. */
  name: string;
  /** The volume that it was made of. */
  stanza: string;
  /** `full`, `diff` since the last full one, `incr` since the last one. */
  type: string;
  /** When it ended, RFC 3339. */
  made: string;
  /** Sizes in bytes: of the database, and of what this backup has added to the bucket. */
  size: number;
  added: number;
}

/** A moment of database and files that belong together. */
export interface Point {
  name: string;
  stanza: string;
  /** RFC 3339. */
  moment: string;
  /** Number and size in bytes of the files, if restic has recorded them. */
  files?: number;
  size?: number;
  /** Whether the last drill has restored it. */
  drilled: boolean;
  /** Whether it is the last one before a restore, reset, copy or move-in: what that has undone after it cannot be restored. */
  undone: boolean;
}

export interface Listed {
  /** The present volume's part of the bucket. */
  stanza: string;
  bucket: string;
  /** Whether the database is managed: then there are only the points, each with dumps, and no backups and moments. */
  dumped: boolean;
  /** Every moment between these two can be restored, except those that are undone; absent before the first backup and point. */
  from?: string;
  to?: string;
  /** Newest first. */
  backups: Backup[];
  points: Point[];
  /** The last drill's report; null before the first one. */
  drill: { started: string; result: string; point: string | null } | null;
}

interface Raw {
  stanza: string;
  bucket: string;
  dumped: boolean;
  info: { name: string; db: Cluster[]; backup?: RawBackup[] }[];
  snapshots: {
    hostname: string;
    tags?: string[];
    summary?: { total_files_processed: number; total_bytes_processed: number };
  }[];
  drill: Listed["drill"];
}

/** A database cluster that a stanza has been used for. The last one is the present one. */
interface Cluster {
  id: number;
  version: string;
}

interface RawBackup {
  label: string;
  database: { id: number };
  type: string;
  timestamp: { stop: number };
  info: { size: number; repository: { delta: number } };
}

/** Reads what machine/backups/list.sh prints. */
export function parseList(text: string): Listed {
  const { stanza, bucket, dumped, info, snapshots, drill } = JSON.parse(text) as Raw;
  const backups = info
    .flatMap(({ name, db, backup = [] }) =>
      backup
        .filter((raw) => restorableIds(db).includes(raw.database.id))
        .map((raw) => ({
          name: raw.label,
          stanza: name,
          type: raw.type,
          made: utc(raw.timestamp.stop * 1000),
          size: raw.info.size,
          added: raw.info.repository.delta,
        })),
    )
    .toSorted((one, other) => other.made.localeCompare(one.made));
  const first = new Map<string, string>();
  for (const backup of backups) first.set(backup.stanza, backup.made);
  const points = snapshots
    .flatMap(({ hostname, tags = [], summary }) => {
      const name = tags.find((tag) => tag.startsWith("point="))?.slice("point=".length);
      const moment = name === undefined ? undefined : momentOf(name);
      // Of a time with the database in the other place.
      if (name === undefined || moment === undefined || tags.includes("dumped") !== dumped) return [];
      // Its database cannot be restored any more.
      if (!dumped && moment < (first.get(hostname) ?? "9")) return [];
      const saved = summary && { files: summary.total_files_processed, size: summary.total_bytes_processed };
      const drilled = drill?.result === "ok" && drill.point === name;
      return [{ name, stanza: hostname, moment, ...saved, drilled, undone: tags.includes("undone") }];
    })
    .toSorted((one, other) => other.moment.localeCompare(one.moment));
  const [from, to] = [first.get(stanza), points.find((point) => point.stanza === stanza)?.moment];
  return {
    ...{ stanza, bucket, dumped, backups, points, drill },
    ...(from !== undefined && to !== undefined && { from, to }),
  };
}

/** Backups from before a migration to another version of PostgreSQL cannot be restored. */
function restorableIds(clusters: Cluster[]): number[] {
  const present = clusters.at(-1)?.version;
  return clusters.filter(({ version }) => version === present).map(({ id }) => id);
}

/** The time in a restore point's name; undefined if it has none. */
function momentOf(name: string): string | undefined {
  const found = /^convex-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(name);
  if (found === null) return undefined;
  const [, year, month, day, hour, minute, second] = found;
  return `${year}-${month}-${day}T${hour}:${minute}:${second}Z`;
}

function utc(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(".000", "");
}

/** For programs: the fields of `Listed`. */
export function asJson(listed: Listed): string {
  return `${JSON.stringify(listed, undefined, 2)}\n`;
}

/** How many restore points are shown to a person; there is one for every minute. */
const SHOWN = 12;

/** For a person at a terminal. */
export function asText(listed: Listed, stack: string): string {
  const { stanza, bucket, dumped, from, to, backups, points, drill } = listed;
  const isOwn = (part: { stanza: string }) => (part.stanza === stanza ? "" : `  of volume ${part.stanza}`);
  const lines = [
    `Backups in ${bucket}:`,
    ...(dumped
      ? []
      : [
          ...table(
            ["backup", "type", "made", "database", "added"],
            backups.map((backup) => [
              backup.name,
              backup.type,
              backup.made,
              size(backup.size),
              size(backup.added) + isOwn(backup),
            ]),
          ),
          "",
        ]),
    ...table(
      ["restore point", "made", "files", "size"],
      points
        .slice(0, SHOWN)
        .map((point) => [
          point.name,
          point.moment,
          String(point.files ?? ""),
          `${point.size === undefined ? "" : size(point.size)}${isOwn(point)}${point.drilled ? "  restored by the last drill" : ""}`,
        ]),
    ),
    ...(points.length > SHOWN ? [`and ${points.length - SHOWN} more, which --format json lists`] : []),
    "",
    `Last drill: ${drill === null ? "never" : `${drill.started}, ${drill.result}`}.`,
  ];
  if (dumped && points.some((point) => point.stanza === stanza)) {
    lines.push(
      `Each of these restore points can be restored, for example: ${npmCommand(stack, "restore", "--to latest")}`,
    );
  } else if (from === undefined || to === undefined) {
    const others = points.length > 0 ? ", but an earlier volume can be restored" : "";
    lines.push(
      `Of this volume, nothing can be restored yet${others}. Make a restore point with: ${npmCommand(stack, "backup", "now")}`,
    );
  } else {
    const own = points.filter((point) => point.stanza === stanza);
    // Where exactly the instance stopped in between, nobody has noted.
    const undone = own.flatMap((point, index) =>
      point.undone && index > 0 ? [`between ${point.moment} and ${own[index - 1]?.moment ?? ""}`] : [],
    );
    const except =
      undone.length === 0
        ? ""
        : `, except some that a restore, reset, copy or move-in has undone (${undone.join(", ")})`;
    lines.push(
      `Every moment from ${from} to ${to} can be restored${except}, for example: ${npmCommand(stack, "restore", "--to latest")}`,
    );
  }
  return `${lines.join("\n")}\n`;
}

/** Lines with aligned columns. */
export function table(head: string[], rows: string[][]): string[] {
  const all = [head, ...(rows.length === 0 ? [["none"]] : rows)];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all.map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")}`.trimEnd());
}

/** In units of 1024. */
export function size(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, bytes < 1 ? 0 : Math.floor(Math.log2(bytes) / 10));
  return `${power === 0 ? bytes : (bytes / 1024 ** power).toFixed(1)} ${units[power] ?? ""}`;
}
