import { parseArgs } from "node:util";

import { RESOURCES, TYPES } from "../contract/names.ts";
import { SCRIPTS, valueIn } from "../contract/scripts.ts";
import { dial } from "../ssh/connect.ts";
import { runRemotely } from "../ssh/run.ts";
import { imageFault, unpairedImages } from "../settings/kinds/images.ts";
import { requireStack, UsageError } from "./arguments.ts";
import { size } from "./backups/list.ts";
import { dropletTarget } from "./droplet.ts";
import { readSetting } from "./setting.ts";
import { State } from "./state.ts";
import { pulumiCommand } from "../contract/commands.ts";
import { npmCommand } from "./typed.ts";

const HELP = `Usage: ${npmCommand("STACK", "upgrade", "--check")}

Shows what the next \`up\` would do with the images that are set: which ones serve, whether the new ones can be pulled and belong together,
whether the backend's is tried on a copy of the data and whether there is room for that, and whether there is a restore point before it. If
the droplet has not pulled the backend's image yet, its revision is not known, and only \`up\` compares it with the dashboard's. Changes
nothing. \`up\` itself upgrades.

Exit code: 0 nothing to upgrade, 1 the upgrade would be refused, or the check failed, 2 there is an upgrade.
`;

/** What machine/convex/rehearse.sh would do. */
export interface Plan {
  /** The image that serves, its revision (empty if it does not name one), and the version of its tables; empty before the first start. */
  accepted: string;
  revision: string;
  version: string;
  /** The configured image, and its revision; empty before it was pulled. */
  image: string;
  imageRevision: string;
  /** Whether the backend's image changes. */
  upgrade: boolean;
  /** The dashboard's image, if it changes. */
  dashboard: string;
  /** Whether there are data to try the image on. */
  data: boolean;
  rehearse: boolean;
  /** Whether the database is managed. Then the image is not tried. */
  managed: boolean;
  /** Bytes on the volume. */
  needed: number;
  free: number;
  point: boolean;
  /** Why `up` would refuse the images, and what to do; empty if it would not. */
  refused: string;
}

/**
 * The command `upgrade`.
 *
 * @returns the process's exit code
 * @throws Error if an image is not one that a stack may have, the stack was not deployed, or its droplet cannot be reached
 */
export async function runUpgrade(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      stack: { type: "string", short: "s" },
      check: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const stack = requireStack("upgrade", values.stack);
  if (values.check !== true) {
    throw new UsageError(
      `upgrade: only shows what would happen, so it should be given --check. Upgrade with: ${pulumiCommand(stack, "up")}`,
    );
  }
  const [state, image, dashboard_image, rehearse] = await Promise.all([
    State.read(stack),
    readSetting(stack, "backendImage"),
    readSetting(stack, "dashboardImage"),
    readSetting(stack, "rehearseImages"),
  ]);
  requireImages(image, dashboard_image);
  const stdin = String(state.get(TYPES.command, RESOURCES.rehearsal).inputs["stdin"]);
  const client = await dial(dropletTarget(state));
  try {
    const command = `bash ${SCRIPTS}/convex/rehearse.sh check`;
    const { exitCode, stdout } = await runRemotely(
      client,
      command,
      replaced(stdin, { image, dashboard_image, rehearse }),
    );
    if (exitCode !== 0) return 1;
    const plan = planOf(stdout);
    process.stdout.write(describe(stack, plan));
    if (plan.refused !== "" || !hasRoom(plan)) return 1;
    return changes(plan) ? 2 : 0;
  } finally {
    client.end();
  }
}

/** Refuses what `up` would refuse without the droplet. */
function requireImages(backendImage: string, dashboardImage: string): void {
  const faults = [
    { setting: "backendImage", fault: imageFault(backendImage, "backendImage") },
    { setting: "dashboardImage", fault: imageFault(dashboardImage, "dashboardImage") },
    { setting: "dashboardImage", fault: unpairedImages(backendImage, dashboardImage) },
  ];
  const lines = faults.flatMap(({ setting, fault }) => (fault ? [`${setting}: ${fault.sentence} ${fault.fix}`] : []));
  if (lines.length > 0) throw new Error(lines.join("\n"));
}

/** A script's stdin with other values. */
function replaced(stdin: string, values: Record<string, string>): string {
  return stdin
    .split("\n")
    .map((line) => {
      const name = line.slice(0, line.indexOf("="));
      return name in values ? `${name}=${values[name] ?? ""}` : line;
    })
    .join("\n");
}

/** @param stdout  lines name=value */
function planOf(stdout: string): Plan {
  const value = (name: keyof Plan) => valueIn(stdout, name);
  return {
    accepted: value("accepted"),
    revision: value("revision"),
    version: value("version"),
    image: value("image"),
    imageRevision: value("imageRevision"),
    upgrade: value("upgrade") === "yes",
    dashboard: value("dashboard"),
    data: value("data") === "yes",
    rehearse: value("rehearse") === "true",
    managed: value("managed") === "yes",
    needed: Number(value("needed")),
    free: Number(value("free")),
    point: value("point") === "yes",
    refused: value("refused"),
  };
}

function changes({ upgrade, dashboard }: Plan): boolean {
  return upgrade || dashboard !== "";
}

function hasRoom({ upgrade, data, rehearse, managed, needed, free }: Plan): boolean {
  return !upgrade || !data || !rehearse || managed || free >= needed;
}

/** A plan as text, with the next command. */
export function describe(stack: string, plan: Plan): string {
  const named = (image: string, revision: string) => `${image}${revision === "" ? "" : `, revision ${revision}`}`;
  const serves =
    plan.accepted === ""
      ? "no backend yet"
      : `${named(plan.accepted, plan.revision)}${plan.version === "" ? "" : `, version ${plan.version} of the tables`}`;
  const lines = [`Serves:     ${serves}`, `Set:        ${named(plan.image, plan.imageRevision)}`];
  if (plan.dashboard !== "") lines.push(`Dashboard:  ${plan.dashboard}`);
  if (plan.refused !== "") lines.push(`Refused:    ${plan.refused}`);
  else if (!changes(plan)) lines.push("Nothing to upgrade.");
  else lines.push(...stepsOf(plan), nextOf(stack, plan));
  return `${lines.join("\n")}\n`;
}

function stepsOf({ upgrade, data, rehearse, managed, needed, free, point }: Plan): string[] {
  if (!upgrade) return ["Rehearsal:  none, because only the dashboard changes"];
  const costs = "Costs:      the API stops while the backend is replaced, for some seconds";
  if (!data) return ["Rehearsal:  none, because no backend has used this database yet", costs];
  if (!rehearse) return ["Rehearsal:  none, and no restore point, because rehearseImages is false", costs];
  if (managed) {
    const way = "the database can be restored to every moment of the last 7 days, with npm run restore";
    return [
      "Rehearsal:  none, because the database is managed",
      `Way back:   ${way}; see docs/managed-database.md`,
      costs,
    ];
  }
  const room = `needs ${size(needed)} on the volume, which has ${size(free)} free`;
  const made = point ? "a restore point is made" : "no restore point, because there is no backup yet";
  return [`Rehearsal:  the new image is tried on a copy of the data; ${room}`, `Way back:   ${made}`, costs];
}

function nextOf(stack: string, plan: Plan): string {
  return hasRoom(plan)
    ? `Upgrade with: ${pulumiCommand(stack, "up")}`
    : `Refused, because the volume has too little room. Grow it with volumeSizeGb, or go on without a rehearsal: ${pulumiCommand(stack, "config set", "rehearseImages false")}`;
}
