import { RESOURCES, TYPES } from "../../contract/names.ts";
import { dropletStatus, dropletTarget } from "../droplet.ts";
import { readIgnored } from "../setting.ts";
import { State } from "../state.ts";
import { compareBackups, JOBS } from "./backups/backups.ts";
import { compareFirewalls } from "./cloud/firewalls.ts";
import { compareCloud } from "./cloud/refresh.ts";
import { compareReservedIp } from "./cloud/reserved-ip.ts";
import { compareRestoredClusters } from "./cloud/restored-clusters.ts";
import { compareSpacesKeys } from "./cloud/spaces-keys.ts";
import { compareVolume } from "./cloud/volume.ts";
import { compareContainers } from "./containers/containers.ts";
import { compareNetworks } from "./containers/networks.ts";
import { compareConvex } from "./convex/backend.ts";
import { compareEdgeNames, EDGE_NAMES } from "./edge/names.ts";
import { expected, hasBackups, isManaged } from "./expected.ts";
import { type Finding, findingsBy, without } from "./finding.ts";
import { compareFunctionEnvironment } from "./functions/environment.ts";
import { compareAccounts } from "./host/accounts.ts";
import { compareDisks } from "./host/disks.ts";
import { compareFiles } from "./host/files.ts";
import { compareListeners } from "./host/listeners.ts";
import { comparePackages } from "./host/packages.ts";
import { compareUpdates } from "./host/updates.ts";
import { type Inside, lookInside } from "./inside.ts";
import { compareNames } from "./network/names.ts";
import { comparePackets } from "./network/packets.ts";
import { compareRoutes } from "./network/routes.ts";
import { withManaged } from "./postgres/managed.ts";
import { comparePostgres } from "./postgres/postgres.ts";
import { RUN_POSTGRES } from "./repair.ts";
import { fromScript, isScript } from "./scripts.ts";

/** The result of comparing a stack. */
export interface Report {
  stack: string;
  findings: Finding[];
  /** Why a part could not be checked; if there is one, nobody knows whether the stack is clean. */
  unknown: string[];
}

/**
 * Compares a stack's cloud and its droplet with what is declared, in parallel: the cloud through the engine, the droplet over
 * one SSH connection. Changes nothing. What the stack's settings ignore is left out.
 *
 * @throws Error if the stack's state cannot be read
 */
export async function look(stack: string): Promise<Report> {
  const asked = settle(compareCloud(stack));
  const state = await State.read(stack);
  const [ignored, inside, ...account] = await Promise.all([
    readIgnored(stack),
    settle(compareInside(state)),
    settle(compareFirewalls(state)),
    settle(compareVolume(state)),
    settle(compareReservedIp(state)),
    settle(compareSpacesKeys(state)),
    settle(compareRestoredClusters(state)),
  ]);
  const cloud = await asked;
  const parts = [
    cloud,
    // One reason is enough.
    ...account.filter((part) => !(cloud instanceof Error && part instanceof Error)),
    inside,
    inside instanceof Error ? await switchedOff(state) : [],
  ];
  return {
    stack,
    findings: without(withoutConsequence(parts.flatMap((part) => (part instanceof Error ? [] : part))), ignored),
    unknown: parts.flatMap((part) => (part instanceof Error ? [part.message] : [])),
  };
}

/**
 * Drops the finding about the file system of a volume that somebody grew: the run that adopts the volume grows it too. And the
 * one about a name whose record somebody changed.
 */
function withoutConsequence(findings: Finding[]): Finding[] {
  const grown = findings.some(({ path }) => path === `cloud.${RESOURCES.volume}.size`);
  const changed = new Set(findings.filter(({ area }) => area === "cloud").map(({ subject }) => subject));
  return findings.filter(
    ({ path, source, repair }) =>
      !(grown && path === "volume.file-system") &&
      !(source === EDGE_NAMES && "up" in repair && repair.refresh?.some((record) => changed.has(`cloud.${record}`))),
  );
}

/** What could not be checked must not hide what could. */
function settle<T>(promise: Promise<T>): Promise<T | Error> {
  return promise.catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))));
}

async function compareInside(state: State): Promise<Finding[]> {
  // A stack can drift only after a completed deployment.
  state.get(TYPES.command, RESOURCES.acceptance);
  return compare(state, await inspect(state));
}

/** For a droplet that does not answer. A refresh finds one that was deleted, but does not compare the status. */
async function switchedOff(state: State): Promise<Finding[]> {
  const found = await dropletStatus(state);
  if (found === undefined || found === "active" || found === "gone") return [];
  const why = "switch it on in DigitalOcean's control panel, or with: doctl compute droplet-action power-on";
  const where = [`cloud.${RESOURCES.droplet}`, "status"] as const;
  return [findingsBy("DigitalOcean", "cloud").error(where, { expected: "active", found }, { why })];
}

/**
 * Inspects a stack's droplet. If the deployment was not completed, it inspects what was deployed.
 *
 * @throws UnreachableError if the droplet cannot be reached
 * @throws Error if there is none yet, or the inspection does not complete
 */
export async function inspect(state: State): Promise<Inside> {
  const inside = await lookInside(dropletTarget(state), expected(state));
  for (const [fact, { exitCode, text }] of inside.facts) {
    if (!fact.startsWith("check.") || exitCode === 0) continue;
    const isRunning = inside.facts.get("run")?.text.trim() === "at work";
    const slow = `it took longer than 30 s${isRunning ? ", while a run is in progress there" : ""}. Try again.`;
    const reason = exitCode === 124 ? slow : text.trim();
    throw new Error(`the machine's script (${fact.slice("check.".length)}) could not check: ${reason}`);
  }
  return inside;
}

/** Compares everything that was found inside with everything that is declared. Pure. */
export function compare(state: State, inside: Inside): Finding[] {
  const postgres = comparePostgres(state, inside);
  const settings = postgres.filter(({ subject }) => subject === "postgres.settings").map(({ path }) => path);
  // A failed unit that a script declares is the script's finding.
  const stopped = new Set(
    inside.differences
      .filter(({ property }) => property === "active")
      .map(({ subject }) => subject.replace(/^units\.(.*)$/, "units[$1]")),
  );
  const findings = [
    // The server's finding also shows where a setting is overridden, so the scripts' finding is dropped.
    ...inside.differences
      .flatMap(fromScript)
      .filter(({ path }) => !settings.includes(path))
      .filter(({ path }) => path !== "postgres.pending-restart" || settings.length === 0),
    ...compareListeners(state, inside),
    ...compareAccounts(state, inside),
    ...compareFiles(inside).filter(
      ({ path }) => !stopped.has(path) && !(hasBackups(state) === true && JOBS.includes(path)),
    ),
    ...comparePackages(inside),
    ...compareUpdates(state, inside),
    ...compareDisks(inside),
    ...postgres.map((finding) => (finding.repair === RUN_POSTGRES ? notRepaired(state, finding) : finding)),
    ...compareBackups(state, inside),
    ...compareContainers(state, inside).map((finding) =>
      // A restart of the backend does not help if its server is down.
      finding.property === "health" && postgres.some(({ path }) => path === "postgres")
        ? { ...finding, repair: RUN_POSTGRES }
        : finding,
    ),
    ...compareNetworks(state, inside),
    ...compareRoutes(state, inside),
    ...comparePackets(state, inside),
    ...compareNames(state, inside),
    ...compareEdgeNames(state, inside),
    ...compareConvex(state, inside),
    ...compareFunctionEnvironment(state, inside),
  ];
  const repairable = isManaged(state) ? findings.map(withManaged) : findings;
  return trusted(inside) ? repairable : repairable.map(copyingScripts);
}

/** If the scripts' last run changed nothing, and the scripts do not report this finding, they may not be its fix. */
function notRepaired(state: State, finding: Finding): Finding {
  const said = state.find(TYPES.command, RESOURCES.server)?.outputs["stderr"];
  if (!/: unchanged\s*$/.test(String(said))) return finding;
  const message =
    `${finding.message}; the scripts changed nothing when they last ran. ` +
    "If you ran them for this, they are not its fix: see journalctl -u 'postgresql@*' on the droplet";
  return { ...finding, message };
}

/** Whether the machine's scripts are those of this checkout. */
function trusted({ differences }: Inside): boolean {
  return !differences.some(({ subject }) => isScript(subject));
}

/** Changed scripts are copied again before a repair runs them as root. */
function copyingScripts(finding: Finding): Finding {
  const { repair } = finding;
  if (!("up" in repair) || repair.up.length === 0) return finding;
  return { ...finding, repair: { ...repair, up: [...new Set([RESOURCES.scripts, ...repair.up])] } };
}
