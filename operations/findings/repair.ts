import { quote } from "../../contract/scripts.ts";
import { RESOURCES } from "../../contract/names.ts";
import { pulumiCommand } from "../../contract/commands.ts";
import { npmCommand } from "../typed.ts";

/** How to get back to what is declared: a `pulumi up`, or a command for a person on the droplet. */
export type Repair = Up | Manual;

/** An `up` that changes the resources it names, those that depend on them, and nothing else. */
export interface Up {
  /** Logical names of resources to replace; replacing one that runs a script runs the script again. */
  up: string[];
  /** Logical names of resources to refresh, so that the engine sees the difference itself. */
  refresh?: string[];
  /** Replaces the droplet and all that is on it: everything is refreshed, because a preview of that would fail. */
  remake?: boolean;
  /** What this costs: what stops, and for how long, or what is lost. If absent, `costsOf` derives it from the names. */
  costs?: string;
}

/** What the program does not repair itself: `why` says what you decide, `command` runs on the droplet. */
export interface Manual {
  why: string;
  command?: string;
}

/** Runs the set-up of the host again, which changes only what differs. */
export const RUN_HOST: Up = { up: [RESOURCES.setup] };

/** The same for PostgreSQL. */
export const RUN_POSTGRES: Up = { up: [RESOURCES.server] };

/** Both, for everything that PostgreSQL depends on. */
export const RUN_BOTH: Up = { up: [RESOURCES.setup, RESOURCES.server] };

/** Attaches the volume again, and then runs both. */
export const ATTACH: Up = {
  ...RUN_BOTH,
  refresh: [RESOURCES.droplet],
  costs: "PostgreSQL and the backend start again when the volume is mounted",
};

/** The same for nginx and the certificate. */
export const RUN_EDGE: Up = { up: [RESOURCES.edge] };

/** The same for the jobs of the backups. */
export const RUN_BACKUPS: Up = { up: [RESOURCES.backups] };

/** Refreshes a resource that the engine can read: it sees the difference itself. */
export function refresh(resource: string, costs?: string): Up {
  return { up: [], refresh: [resource], ...(costs === undefined ? {} : { costs }) };
}

/** Replaces containers. The refresh is for a container with the same name that somebody made by hand. */
export function newContainer(...resources: string[]): Up {
  return { up: resources, refresh: resources };
}

/** Replaces the container of an app by another version, which takes its place once it is ready. */
export function newVersion(container: string): Up {
  return {
    up: [`${container}-version`],
    refresh: [container],
    costs: "nothing stops if the app still answers; otherwise it starts again",
  };
}

/** Recreates a droplet. */
export const REMAKE: Up = {
  up: [],
  remake: true,
  costs: "a new droplet, perhaps with another address, on the same volume with its data: some minutes without answers",
};

export const NOTHING_STOPS = "nothing stops";

/** What it costs to replace a resource. For all other resources, nothing stops. */
const COSTS: Record<string, string> = {
  [RESOURCES.setup]: "Docker may have to start again: then some seconds without answers",
  [RESOURCES.server]: "PostgreSQL may have to start again: then some seconds without answers",
  [RESOURCES.databaseClient]: "the way to the managed database is set up again: nothing stops",
  [RESOURCES.edge]: "nginx reads its configuration again: nothing stops",
  [RESOURCES.apps]: "nginx reads its configuration again: nothing stops",
  [RESOURCES.backups]: "the timers of the backups are installed again: nothing stops",
  [RESOURCES.network]: "network and containers are recreated: some seconds without answers",
  [RESOURCES.backend]: "the backend's container is recreated: some seconds without answers",
  [RESOURCES.dashboard]: "the dashboard's container is recreated; the backend keeps running",
  [RESOURCES.password]:
    "the role gets another password and the backend another container: some seconds without answers",
};

/** What an `up` costs: what stops, and for how long, or what is lost. */
export function costsOf({ up, refresh = [], costs }: Up): string {
  return costs ?? ([...new Set([...up, ...refresh])].flatMap((name) => COSTS[name] ?? []).join("; ") || NOTHING_STOPS);
}

/** One `up` for all repairs that are an `up`; undefined if none is. */
export function combined(repairs: Repair[]): Up | undefined {
  const ups = repairs.flatMap((repair) => ("up" in repair ? [repair] : []));
  if (ups.length === 0) return undefined;
  const costs = new Set(ups.map(costsOf));
  if (costs.size > 1) costs.delete(NOTHING_STOPS);
  return {
    up: ups.flatMap((repair) => repair.up),
    refresh: ups.flatMap((repair) => repair.refresh ?? []),
    remake: ups.some(({ remake }) => remake),
    costs: [...costs].join("; "),
  };
}

/** A repair as text: a command, or what you decide and the command for it. */
export function repairText(stack: string, repair: Repair): string {
  if ("up" in repair) return upText(stack, repair);
  const command = repair.command === undefined ? "" : `: ${npmCommand(stack, "ssh", quote(repair.command))}`;
  return `${repair.why}${command}`;
}

/** Without these, providers cannot read what is on the droplet, or in its database. */
const STARTERS = new Set<string>([
  ...[RESOURCES.setup, RESOURCES.server, RESOURCES.databaseClient, RESOURCES.clusterFirewall],
]);

/** The backend, and what it depends on but its rehearsal does not. */
const BEFORE_BACKEND = new Set<string>([RESOURCES.backend, RESOURCES.network, RESOURCES.password]);

/**
 * With a refresh, the engine sees what providers can read. It is limited to the resources to repair, because a full refresh
 * would also undo people's other changes. If it also runs the scripts that start Docker or PostgreSQL, or lets the droplet into
 * a managed database, there is no preview: that would read from them before.
 */
function upText(stack: string, { up: names, refresh: resources = [], remake = false }: Up): string {
  const option = (name: string, values: string[]) =>
    [...new Set(values)].toSorted().map((resource) => `--${name} '**${resource}'`);
  const all = ["--refresh --run-program"];
  const targets = [...resources, ...names];
  // The backend's container also gets a new image that was not deployed yet, and must not get it without its rehearsal.
  if (targets.some((name) => BEFORE_BACKEND.has(name))) targets.push(RESOURCES.rehearsal);
  const some = [...all, ...option("target", targets), "--target-dependents"];
  const refreshed = remake ? all : resources.length > 0 ? some : [];
  const starts = remake || [...names, ...resources].some((name) => STARTERS.has(name));
  if (refreshed.length > 0 && starts) refreshed.push("--skip-preview --yes");
  return pulumiCommand(stack, "up", ...refreshed, ...option("replace", names));
}
