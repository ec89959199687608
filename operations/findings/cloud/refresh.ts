import { execFile } from "node:child_process";
import { isDeepStrictEqual, promisify } from "node:util";

import { RESOURCES } from "../../../contract/names.ts";
import { pulumiCommand } from "../../../contract/commands.ts";
import { type Finding, findingsBy, missing, type Seen, undeclared } from "../finding.ts";
import { ATTACH, NOTHING_STOPS, refresh, REMAKE, type Repair, repairText } from "../repair.ts";

const { error } = findingsBy("DigitalOcean", "cloud");

/** A step of the engine's preview, as `--json` prints it. */
export interface Step {
  op: string;
  urn: string;
  /** The stack's state: the declared values. */
  oldState?: Found;
  /** The values that the provider has just read. */
  newState?: Found;
  detailedDiff?: Record<string, { kind: string }> | null;
}

interface Found {
  inputs?: Record<string, unknown>;
  outputs?: Record<string, unknown>;
}

/** All of the stack's resources at DigitalOcean, which the engine's provider reads; Docker and PostgreSQL are checked inside. */
const EVERYTHING = ["**digitalocean:**"];

/** All except the volume. */
const OTHERS = [
  "droplet",
  "firewall",
  "project",
  "projectResources",
  "sshKey",
  "reservedIp",
  "domain",
  "dnsRecord",
  "databaseCluster",
  "databaseFirewall",
].map((kind) => `**digitalocean:index/${kind}:**`);

/** The error of the provider, or of the program if it runs, about a volume that somebody has grown outside of Pulumi. */
const GROWN = /volumes `size` can only be expanded|volumeSizeGb: \d+ is below/;

/**
 * Compares the cloud with the stack's state by a refresh that is only previewed, so nothing is written.
 *
 * @throws Error with the engine's own reason if the cloud cannot be asked
 */
export async function compareCloud(stack: string): Promise<Finding[]> {
  const steps = await refreshed(stack, EVERYTHING)
    .catch((failure: unknown) => {
      if (!GROWN.test(reasonOf(failure))) throw failure;
      // compareVolume checks the volume's size.
      return refreshed(stack, OTHERS, "--run-program=false");
    })
    .catch((failure: unknown) => {
      throw new Error(`the cloud cannot be asked: ${reasonOf(failure)}`);
    });
  return steps.flatMap(fromStep);
}

async function refreshed(stack: string, resources: string[], ...options: string[]): Promise<Step[]> {
  const targets = resources.flatMap((resource) => ["--target", resource]);
  const args = ["refresh", "--preview-only", "--json", "--non-interactive", ...options, ...targets, "--stack", stack];
  const { stdout } = await promisify(execFile)("pulumi", args, { maxBuffer: 64 * 1024 * 1024 });
  return (JSON.parse(stdout) as { steps: Step[] }).steps;
}

/** What it costs to recreate a resource, by its type; REMAKE has a droplet's costs. */
const GONE: Record<string, string> = {
  Volume: "a new, empty volume and a new droplet for it: the data is lost, restore it from a backup",
  SshKey: "nothing stops; the droplet keeps its key",
  Firewall: "nothing stops; the firewall again blocks everything that is not declared",
  DatabaseCluster:
    "a new, empty database: the data is lost, unless you restore the cluster in DigitalOcean's control panel",
  DatabaseFirewall: "nothing stops; the database again admits only the droplet",
  ReservedIp: "a new address: clients reach it once the names lead to it; without names, the URLs change",
  DnsRecord: "nothing stops; the name leads here again after a minute",
};

/** The same for a change that replaces the resource. */
const REPLACED: Record<string, string> = {
  ...GONE,
  Droplet: REMAKE.costs ?? "",
};

/** The same for a change that can be undone in place. */
const CHANGED: Record<string, string> = {
  "ReservedIp.dropletId": "nothing stops; the other droplet loses the address",
  "DnsRecord.value": "nothing stops; the name leads here again after a minute",
  "Droplet.size": "the droplet is switched off and resized: some minutes without answers",
  "DatabaseCluster.size": "the nodes are resized: some minutes, in which connections break once",
  "DatabaseCluster.nodeCount": "nothing stops",
  "DatabaseFirewall.rules": "nothing stops, except connections that need the undeclared rules",
  "Firewall.inboundRules": "nothing stops, except connections that need the undeclared rules",
};

/** One finding for each property that differs. Pure. */
export function fromStep({ op, urn, oldState, newState, detailedDiff }: Step): Finding[] {
  const name = urn.slice(urn.lastIndexOf("::") + 2);
  const path = `cloud.${name}`;
  const type = /([^$:]+)::[^:]+$/.exec(urn)?.[1] ?? "";
  // It differs if what it connects to does, such as a password in the cloud. The check inside finds that.
  if (urn.includes("pulumi:providers:")) return [];
  if (op === "delete") {
    return [error(path, missing(), type === "Droplet" ? REMAKE : refresh(name, GONE[type]))];
  }
  // Names with two leading underscores are the engine's own.
  const differences = Object.entries(detailedDiff ?? {}).filter(([property]) => !property.startsWith("__"));
  return differences.map(([property, { kind }]) => {
    const costs = kind.endsWith("-replace") ? REPLACED[type] : CHANGED[`${type}.${property.replace(/\[.*/, "")}`];
    const repair = takenOver(urn, property, oldState, newState) ?? refresh(name, costs ?? NOTHING_STOPS);
    return error([path, property], seen(property, kind, oldState, newState), repair);
  });
}

function seen(property: string, kind: string, oldState?: Found, newState?: Found): Seen {
  if (kind.startsWith("add")) {
    const found = only(property, newState, oldState);
    return undeclared(`unexpected ${JSON.stringify(found)}`, found);
  }
  if (kind.startsWith("delete")) {
    const expected = only(property, oldState, newState);
    return { expected, found: "absent", message: `missing ${JSON.stringify(expected)}` };
  }
  return { expected: valueAt(property, oldState), found: foundAt(property, newState, oldState) };
}

/**
 * The repair of a change that a refresh alone does not repair: the scripts mount a volume that was detached, and a disk that
 * somebody has grown with the droplet's size does not allow the smaller size.
 */
function takenOver(urn: string, property: string, oldState?: Found, newState?: Found): Repair | undefined {
  if (property.startsWith("volumeIds")) return ATTACH;
  const disk = (state: Found | undefined) => Number(state?.outputs?.["disk"]);
  if (property !== "size" || !urn.includes("/droplet:Droplet::") || !(disk(newState) > disk(oldState)))
    return undefined;
  const stack = urn.split(":")[2] ?? "";
  const size = String(at(newState?.outputs, property));
  const why =
    `its disk is ${disk(newState)} GB now and cannot shrink. Either keep its new size: ` +
    `${pulumiCommand(stack, "config set", `size ${size}`)} && ${repairText(stack, refresh(RESOURCES.droplet))}; ` +
    `or recreate the droplet, which keeps the data: ${pulumiCommand(stack, "up", `--replace '**${RESOURCES.droplet}'`)}`;
  return { why };
}

/** The value at a path that only one of the states has. If a list is a set, its indexes do not show which one it is. */
function only(property: string, one: Found | undefined, other: Found | undefined): unknown {
  const value = valueAt(property, one);
  const list = property.replace(/\[\d+\]$/, "");
  const [items, others] = [at(one?.outputs, list), at(other?.outputs, list)];
  if (list === property || !Array.isArray(items) || !Array.isArray(others)) return value;
  const known = new Set(others.map((item) => JSON.stringify(item)));
  const alone = items.filter((item) => !known.has(JSON.stringify(item))).map(bare);
  return alone.find((item) => isDeepStrictEqual(item, value)) ?? alone[0] ?? value;
}

/** The value at a path that a provider has found to differ. For some properties it does not change the input. */
function foundAt(property: string, found: Found | undefined, declared: Found | undefined): unknown {
  const value = valueAt(property, found);
  return isDeepStrictEqual(value, valueAt(property, declared)) ? bare(at(found?.outputs, property)) : value;
}

/**
 * The value at a path as a program would declare it. A provider does not extend a list of inputs, so an item that somebody
 * has added is only in the outputs.
 */
function valueAt(property: string, state: Found | undefined): unknown {
  return at(state?.inputs, property) ?? bare(at(state?.outputs, property));
}

/** Without empty lists and texts, because a program omits them. */
function bare(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value).filter(([, member]) => member !== "" && !(Array.isArray(member) && member.length === 0)),
  );
}

/** The value at a path such as `inboundRules[3].portRange`. */
function at(value: unknown, path: string): unknown {
  let current = value;
  for (const step of path.split(/[.[\]]+/).filter((part) => part !== "")) {
    current = typeof current === "object" && current !== null ? (current as Record<string, unknown>)[step] : undefined;
  }
  return current;
}

/** Why a command of the engine failed, in one line. With `--json` the reason is on stdout, between the other output. Pure. */
export function reasonOf(failure: unknown): string {
  if (!(failure instanceof Error)) return String(failure);
  const { stdout = "", stderr = "" } = failure as Error & { stdout?: string; stderr?: string };
  const told = diagnostics(stdout).filter(({ severity }) => severity === "error");
  const [{ urn = "", message } = { message: stderr.trim() === "" ? failure.message : stderr }] = told;
  // The provider puts a place in its own source before the message, and its name after it.
  const reason = message
    .trim()
    .replace(/^error: */, "")
    .replace(/^\S+\.go:\d+: \S+: /, "")
    .replace(/: provider=\S+$/, "")
    .replaceAll(/\s+/g, " ");
  const name = urn.slice(urn.lastIndexOf("::") + 2);
  return urn === "" || urn.includes("pulumi:pulumi:Stack") ? reason : `${name}: ${reason}`;
}

function diagnostics(stdout: string): { urn?: string; message: string; severity: string }[] {
  try {
    return (JSON.parse(stdout) as { diagnostics?: [] }).diagnostics ?? [];
  } catch {
    return [];
  }
}
