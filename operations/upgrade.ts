import { parseArgs } from "node:util";

import { RESOURCES, TYPES } from "../contract/names.ts";
import { SCRIPTS, valueIn } from "../contract/scripts.ts";
import { dial } from "../ssh/connect.ts";
import { runRemotely } from "../ssh/run.ts";
import { requireStack } from "./arguments.ts";
import { size } from "./backups/list.ts";
import { dropletTarget } from "./droplet.ts";
import { readSetting } from "./setting.ts";
import { State } from "./state.ts";
import { pulumiCommand } from "./typed.ts";

const HELP = `Usage: npm run upgrade -- --stack STACK --check

Shows what the next \`up\` would do with the backend's image: which image serves, which one is set, whether it is tried on a copy of the data
and whether there is room for that, and whether there is a restore point before it. It does not compare the revisions of the two images, and
does not look at the dashboard's. Changes nothing. \`up\` itself upgrades.

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
  upgrade: boolean;
  /** Whether there are data to try the image on. */
  data: boolean;
  rehearse: boolean;
  /** Bytes on the volume. */
  needed: number;
  free: number;
  point: boolean;
  /** Why `up` would refuse the image, and what to do; empty if it would not. */
  refused: string;
}

/**
 * The command `upgrade`.
 *
 * @returns the process's exit code
 * @throws Error if the stack was not deployed, or its droplet cannot be reached
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
    throw new Error(
      `upgrade: only shows what would happen, so it should be given --check. Upgrade with: ${pulumiCommand(stack, "up")}`,
    );
  }
  const state = await State.read(stack);
  const stdin = String(state.get(TYPES.command, RESOURCES.rehearsal).inputs["stdin"]);
  const [image, dashboard_image, rehearse] = await Promise.all([
    readSetting(stack, "backendImage"),
    readSetting(stack, "dashboardImage"),
    readSetting(stack, "rehearseImages"),
  ]);
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
    if (!plan.upgrade) return 0;
    return plan.refused === "" && hasRoom(plan) ? 2 : 1;
  } finally {
    client.end();
  }
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
    data: value("data") === "yes",
    rehearse: value("rehearse") === "true",
    needed: Number(value("needed")),
    free: Number(value("free")),
    point: value("point") === "yes",
    refused: value("refused"),
  };
}

function hasRoom({ data, rehearse, needed, free }: Plan): boolean {
  return !data || !rehearse || free >= needed;
}

/** A plan as text, with the next command. */
export function describe(stack: string, plan: Plan): string {
  const named = (image: string, revision: string) => `${image}${revision === "" ? "" : `, revision ${revision}`}`;
  const serves =
    plan.accepted === ""
      ? "no backend yet"
      : `${named(plan.accepted, plan.revision)}${plan.version === "" ? "" : `, version ${plan.version} of the tables`}`;
  const lines = [`Serves:     ${serves}`, `Set:        ${named(plan.image, plan.imageRevision)}`];
  if (!plan.upgrade) return `${lines.join("\n")}\nNothing to upgrade.\n`;
  if (plan.refused !== "") return `${lines.join("\n")}\nRefused:    ${plan.refused}\n`;
  const room = `needs ${size(plan.needed)} on the volume, which has ${size(plan.free)} free`;
  const point = plan.point ? "a restore point is made" : "no restore point, because there is no backup yet";
  if (!plan.data) lines.push("Rehearsal:  none, because no backend has used this database yet");
  else if (!plan.rehearse) lines.push("Rehearsal:  none, and no restore point, because rehearseImages is false");
  else lines.push(`Rehearsal:  the new image is tried on a copy of the data; ${room}`, `Way back:   ${point}`);
  lines.push("Costs:      the API stops while the backend is replaced, for some seconds");
  const next = hasRoom(plan)
    ? `Upgrade with: ${pulumiCommand(stack, "up")}`
    : `Refused, because the volume has too little room. Grow it with volumeSizeGb, or go on without a rehearsal: ${pulumiCommand(stack, "config set", "rehearseImages false")}`;
  return `${lines.join("\n")}\n${next}\n`;
}
