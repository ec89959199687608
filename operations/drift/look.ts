import { SCRIPTS } from "../../contract/scripts.ts";
import { dropletStatus, dropletTarget } from "../droplet.ts";
import { compareCloud } from "./cloud.ts";
import { compareContainers } from "./containers.ts";
import { compareConvex } from "./convex.ts";
import { expected } from "./expected.ts";
import { error, type Finding, RUN_SCRIPTS, should } from "./finding.ts";
import { compareFirewalls } from "./firewalls.ts";
import { type Inside, lookInside } from "./inside.ts";
import { compareMachine } from "./machine.ts";
import { compareNetworks } from "./networks.ts";
import { compareNames } from "./names.ts";
import { comparePackets } from "./packets.ts";
import { comparePostgres } from "./postgres.ts";
import type { Report } from "./report.ts";
import { compareRoutes } from "./routes.ts";
import { compareVolume } from "./volume.ts";
import { State } from "../state.ts";
import { RESOURCES, TYPES } from "../../contract/names.ts";

/**
 * Looks at a stack's cloud, through the engine, and at its droplet, over one SSH connection, at the same time; changes
 * neither.
 *
 * @throws Error when the stack's state cannot be read
 */
export async function look(stack: string): Promise<Report> {
  const asked = settle(compareCloud(stack));
  const state = await State.read(stack);
  const [inside, firewalls, volume] = await Promise.all([
    settle(compareInside(state)),
    settle(compareFirewalls(state)),
    settle(compareVolume(state)),
  ]);
  const cloud = await asked;
  const parts = [
    cloud,
    // One reason is enough.
    ...[firewalls, volume].filter((part) => !(cloud instanceof Error && part instanceof Error)),
    inside,
    inside instanceof Error ? await switchedOff(state) : [],
  ];
  return {
    stack,
    findings: withoutConsequence(parts.flatMap((part) => (part instanceof Error ? [] : part))),
    unknown: parts.flatMap((part) => (part instanceof Error ? [part.message] : [])),
  };
}

/** The file system of a volume that somebody has grown is grown by the same run that takes the volume as it is. */
function withoutConsequence(findings: Finding[]): Finding[] {
  const grown = findings.some(({ path }) => path === `cloud.${RESOURCES.volume}.size`);
  return findings.filter(({ path }) => !(grown && path === "volume.file-system"));
}

/** What could not be looked at must not hide what could. */
function settle<T>(promise: Promise<T>): Promise<T | Error> {
  return promise.catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))));
}

async function compareInside(state: State): Promise<Finding[]> {
  // The last thing of an up. What was never deployed to its end cannot have drifted.
  state.get(TYPES.command, RESOURCES.acceptance);
  return compare(state, await inspect(state));
}

/** Of a droplet that lets nobody in. A refresh shows one that is gone, and no status. */
async function switchedOff(state: State): Promise<Finding[]> {
  const status = await dropletStatus(state);
  if (status === undefined || status === "active" || status === "gone") return [];
  const why = "switch it on in DigitalOcean's control panel, or with: doctl compute droplet-action power-on";
  return [error("cloud.convex-droplet.status", should(status, "active"), { why })];
}

/**
 * Looks inside a stack's droplet. Where the stack was not deployed to its end, only at what has been.
 *
 * @throws UnreachableError when the droplet cannot be reached
 * @throws Error when there is none yet, or the look does not come to its end
 */
export async function inspect(state: State): Promise<Inside> {
  const inside = await lookInside(dropletTarget(state), expected(state));
  for (const script of ["host", "postgres", "scripts"]) {
    const { exitCode, text } = inside.facts.get(`check.${script}`) ?? { exitCode: 0, text: "" };
    if (exitCode !== 0)
      throw new Error(
        `the machine's script (${script}) could not look: ${exitCode === 124 ? "it took longer than 30 s. Is a run at work there?" : text.trim()}`,
      );
  }
  return inside;
}

/** All that is seen inside, against all that is declared. Pure. */
export function compare(state: State, inside: Inside): Finding[] {
  const postgres = comparePostgres(state, inside);
  // Of a setting that is overridden the server tells where, and the scripts only that.
  const machine = compareMachine(state, inside).filter(
    ({ path }) =>
      !(path.startsWith("postgres.settings.") && postgres.some((finding) => finding.path === path)) &&
      !(
        path === "postgres.pending-restart" && postgres.some((finding) => finding.path.startsWith("postgres.settings."))
      ),
  );
  const findings = [
    ...machine,
    ...postgres.map((finding) => (finding.repair === RUN_SCRIPTS ? notCured(state, finding) : finding)),
    ...compareContainers(state, inside).map((finding) =>
      // A backend whose server is away is not cured by another start.
      /^containers\..*\.health$/.test(finding.path) && postgres.some(({ path }) => path === "postgres")
        ? { ...finding, repair: RUN_SCRIPTS }
        : finding,
    ),
    ...compareNetworks(state, inside),
    ...compareRoutes(state, inside),
    ...comparePackets(state, inside),
    ...compareNames(state, inside),
    ...compareConvex(state, inside),
  ];
  return trusted(inside) ? findings : findings.map(copyingScripts);
}

/** What the scripts themselves do not tell, and what they had nothing to change for, they may not cure. */
function notCured(state: State, finding: Finding): Finding {
  const ranLast = [RESOURCES.setup, RESOURCES.server].map((name) => state.find(TYPES.command, name)?.outputs["stderr"]);
  if (!ranLast.every((said) => /: unchanged\s*$/.test(String(said)))) return finding;
  const message =
    `${finding.message}; the scripts had nothing to change when they last ran. ` +
    "If that was for this, they are not its fix: look at journalctl -u 'postgresql@*' on the droplet";
  return { ...finding, message };
}

/** Whether the machine's scripts are those of this checkout. */
function trusted({ differences }: Inside): boolean {
  return !differences.some(({ path }) => path.startsWith(`files[${SCRIPTS}/`));
}

/** Scripts that somebody has changed are run by no repair, as root, before they are copied anew. */
function copyingScripts(finding: Finding): Finding {
  const { repair } = finding;
  if (!("up" in repair) || repair.up.length === 0) return finding;
  return { ...finding, repair: { ...repair, up: [...new Set([RESOURCES.scripts, ...repair.up])] } };
}
