import { CONTAINERS } from "../../contract/names.ts";
import { type MonthlyCost, totalOf } from "../../digitalocean/cost.ts";
import { BY_CLOUD, FILES_OFF, OFF, OLDEST, OLDEST_DUMP } from "../findings/backups/backups.ts";
import { ALMOST_FULL_PERCENT } from "../findings/host/disks.ts";
import { size } from "../backups/list.ts";
import { MINUTE, span } from "../span.ts";
import type { Container, Facts } from "./facts.ts";

/** What the stack's state says of it. */
export interface Declared {
  urls: { backend: string; site: string; dashboard: string };
  /** The containers of apps at Docker, by app, and their public URLs. */
  apps: Map<string, string>;
  appUrls: Record<string, string>;
  /** Size and region of the droplet. */
  droplet: string;
  /** Undefined in a state of an earlier release. */
  monthlyCost: MonthlyCost | undefined;
  hasBackups: boolean;
  isManaged: boolean;
  /** With a managed database: since when DigitalOcean keeps every moment, RFC 3339; undefined if it could not be asked. */
  keptSince: string | undefined;
  /** Whether nothing is lost with the volume. */
  isKeptByCloud: boolean;
  /** The server with the buckets that the backend keeps its files in; undefined if they are on the volume. */
  bucketServer: string | undefined;
}

/** A line for a person. */
export interface Row {
  name: string;
  text: string;
  /** Whether a person should look at it. */
  attention: boolean;
}

/** How many percent of its limit something may use before a person should look at it. */
const HIGH = 90;

/** What is shown, line by line. Pure. */
export function rowsOf(facts: Facts, declared: Declared): Row[] {
  return [
    ...containerRows(facts, declared),
    ...hostRows(facts, declared),
    ...postgresRows(facts),
    ...clusterRows(facts, declared),
    ...backupRows(facts, declared),
    ...upkeepRows(facts),
    ...(declared.monthlyCost === undefined ? [] : [row("cost", totalOf(declared.monthlyCost))]),
  ];
}

function containerRows({ containers, now }: Facts, { urls, apps, appUrls, bucketServer }: Declared): Row[] {
  const rows: [name: string, container: string, url: string][] = [
    ["backend", CONTAINERS.backend, urls.backend],
    ["dashboard", CONTAINERS.dashboard, urls.dashboard],
    ...[...apps].map(([app, container]): [string, string, string] => [`app ${app}`, container, appUrls[app] ?? ""]),
  ];
  return [
    ...rows.map(([name, wanted, url]) => {
      if (containers === null) return row(name, "Docker does not answer", true);
      const found = containers.find((container) => container.name === wanted);
      if (found === undefined) return row(name, "is not there", true);
      return row(name, [describe(found, now), url].filter((part) => part !== "").join("  "), !isWell(found, now));
    }),
    row("actions", urls.site),
    ...(bucketServer === undefined ? [] : [row("files", `in buckets at ${bucketServer}`)]),
  ];
}

function isWell({ state, health, since, killed }: Container, now: number): boolean {
  // Docker asks a new container for the first time after some seconds.
  const isNew = health === "starting" && now - since < MINUTE;
  return state === "running" && !killed && (health === null || health === "healthy" || isNew);
}

function describe({ state, health, since, restarts, killed, revision, image }: Container, now: number): string {
  const version = revision === "" ? (/@sha256:([0-9a-f]{12})/.exec(image)?.[1] ?? image) : revision.slice(0, 12);
  return [
    `${state === "running" ? (health ?? state) : state} for ${span(now - since)}`,
    ...(restarts === 0 ? [] : [`${restarts} ${restarts === 1 ? "restart" : "restarts"}`]),
    ...(killed ? ["killed, because it used too much memory"] : []),
    version,
  ].join(", ");
}

function hostRows({ up, load, processors, memory, disks }: Facts, { droplet }: Declared): Row[] {
  const parts = [
    droplet,
    ...(up === undefined ? [] : [`up ${span(up)}`]),
    ...(load === undefined || processors === undefined
      ? []
      : [`load ${load.toFixed(2)} on ${processors} ${processors === 1 ? "processor" : "processors"}`]),
  ];
  const used = memory === undefined ? 0 : memory.total - memory.available;
  return [
    row("droplet", parts.join(", "), up === undefined),
    ...(memory === undefined ? [] : [of("memory", used, memory.total, size)]),
    ...(disks ?? []).map(({ folder, total, available, percent }) =>
      row(
        `disk ${folder}`,
        `${Math.round(percent)} % used, ${size(available)} of ${size(total)} free`,
        percent >= ALMOST_FULL_PERCENT,
      ),
    ),
    ...(disks === null ? [row("disks", "could not be asked", true)] : []),
  ];
}

function postgresRows({ postgres }: Facts): Row[] {
  if (postgres === null) return [row("PostgreSQL", "does not answer", true)];
  const { version, connections, allowed, wal, databases, tables } = postgres;
  const sized = ({ name, bytes }: { name: string; bytes: number }) => `${name} ${size(bytes)}`;
  return [
    row("PostgreSQL", `${version}, ${wal === null ? "managed by DigitalOcean" : `write-ahead log ${size(wal)}`}`),
    of("connections", connections, allowed, String),
    row("databases", databases.map(sized).join(", ")),
    ...(tables === null ? [] : [row("tables", `${tables.map(sized).join(", ")} (Convex's largest)`)]),
  ];
}

/** How much of something is used. */
function of(name: string, used: number, total: number, unit: (amount: number) => string): Row {
  return row(name, `${unit(used)} of ${unit(total)}`, used >= (total * HIGH) / 100);
}

/** The moments to which DigitalOcean can restore a managed database. */
function clusterRows({ now }: Facts, { isManaged, keptSince }: Declared): Row[] {
  if (!isManaged) return [];
  const text =
    keptSince === undefined
      ? "DigitalOcean could not be asked"
      : `every moment of the last ${span(now - Date.parse(keptSince) / 1000)}, since ${keptSince}`;
  return [row("cluster backups", text)];
}

function backupRows(
  { backups, waiting, now, up = Infinity }: Facts,
  { hasBackups, isManaged, isKeptByCloud, bucketServer }: Declared,
): Row[] {
  if (!hasBackups) return [row("backups", isKeptByCloud ? BY_CLOUD : isManaged ? FILES_OFF : OFF, !isKeptByCloud)];
  if (backups === null) return [row("backups", "could not be asked", true)];
  const { point, base, objects, drill } = backups;
  const job = (name: string, time: string | undefined, oldest: number, more = "", failed = false) => {
    // After a boot, the jobs need some minutes.
    const age = time === undefined ? Infinity : now - Date.parse(time) / 1000;
    const text = time === undefined ? "none yet" : `${span(age)} ago${more}`;
    return row(name, text, failed || (age > oldest && up > OLDEST.point && time !== undefined));
  };
  return [
    job(
      "restore point",
      point?.at,
      isManaged ? OLDEST_DUMP : OLDEST.point,
      waiting === null || waiting === 0 ? "" : `, ${waiting} files of the write-ahead log wait`,
    ),
    ...(isManaged ? [] : [job("backup", base?.at, OLDEST.base)]),
    ...(bucketServer === undefined ? [] : [job("copy of the files", objects?.at, OLDEST_DUMP)]),
    job(
      "drill",
      drill?.started,
      OLDEST.drill,
      drill === undefined ? "" : `, ${drill.result}`,
      drill?.result === "failed",
    ),
  ];
}

function upkeepRows({ certificate, packages, reboot, now }: Facts): Row[] {
  const rows: Row[] = [];
  if (certificate !== null) {
    const { start, end } = certificate;
    // certbot renews when a third is left.
    const late = end - now < (end - start) / 4;
    rows.push(row("certificate", end > now ? `valid for ${span(end - now)}` : `expired ${span(now - end)} ago`, late));
  }
  rows.push(
    row(
      "updates",
      [
        packages === null ? "could not be asked" : packages === 0 ? "none" : `${packages} packages`,
        ...(reboot === null ? [] : [`a reboot is needed since ${span(now - reboot)}`]),
      ].join(", "),
    ),
  );
  return rows;
}

function row(name: string, text: string, attention = false): Row {
  return { name, text, attention };
}
