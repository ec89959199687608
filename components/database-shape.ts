import * as pulumi from "@pulumi/pulumi";

import { HOST_IN_CONTAINERS } from "../contract/names.ts";
import { itemsIn, valueIn } from "../contract/scripts.ts";
import { valueOf } from "../contract/value-of.ts";
import { onThisStack } from "../settings/on-this-stack.ts";
import type { Shape } from "../settings/postgres.ts";
import { formerVariables } from "./former-stdin.ts";

/** What is to happen to the database. */
interface Wanted {
  database: Shape;
  moveDatabase: boolean;
}

const WORDS: Record<Shape, string> = { droplet: "the droplet's server", managed: "the managed cluster" };

/**
 * For the `beforeUpdate` of the resource that has the backend's variables in its stdin, and for the `beforeCreate` of what comes before it: the
 * script of the other place, and a cluster, which would cost money. Refuses, also in a preview, to run the database of a deployed instance
 * elsewhere, where none of its rows are, unless it is to be moved. Then it says what will happen.
 *
 * Only a backend that has been started knows for sure where the rows are, so the scripts on the droplet check it again.
 */
export function refuseOtherShape(name: string, { database, moveDatabase }: Wanted): pulumi.ResourceHook {
  const refuse = async ({ oldInputs }: pulumi.ResourceHookArgs) => {
    const variables = await formerVariables(name, oldInputs);
    if (variables === undefined) return;
    const former = formerShape(variables);
    if (former === database) return;
    if (moveDatabase) {
      if (oldInputs !== undefined && pulumi.runtime.isDryRun()) await pulumi.log.info(plan(former, database));
      return;
    }
    throw new Error(
      `convex-droplet:database: is ${database}, but this stack was deployed with ${former}, where its data is. Nothing was changed. ` +
        `Move it: ${onThisStack("config set", "moveDatabase true")} && ${onThisStack("up")}, during which the instance does not serve for some minutes for each 10 GB; ` +
        `or set it back: ${onThisStack("config set", `database ${former}`)}; see docs/managed-database.md`,
    );
  };
  return new pulumi.ResourceHook(`${name}-database-shape`, refuse, { onDryRun: true });
}

/** An earlier release knew only one shape. */
function formerShape(stdin: string): Shape {
  const url = itemsIn(stdin, "environment").find((line) => line.startsWith("POSTGRES_URL="));
  return url === undefined || url.includes(`@${HOST_IN_CONTAINERS}:`) ? "droplet" : "managed";
}

function plan(from: Shape, to: Shape): string {
  return (
    `moveDatabase: up moves the database from ${WORDS[from]} to ${WORDS[to]}: a rehearsal while the instance serves, which shows how long the move will take; then the instance stops, ` +
    "everything is copied and compared, and the backend starts again with it. The former server keeps its data until you confirm the move: " +
    `${onThisStack("config rm", "moveDatabase")} && ${onThisStack("up")}`
  );
}

/** For the `beforeUpdate` of a server's script: says, also in a preview, that what a move has kept goes. */
export function tellConfirmation(name: string, moveDatabase: boolean, kept: string): pulumi.ResourceHook {
  const tell = async ({ oldInputs }: pulumi.ResourceHookArgs) => {
    const former = (await valueOf((oldInputs as { stdin?: pulumi.Input<string> }).stdin)) ?? "";
    if (valueIn(former, "move") === "true" && !moveDatabase) {
      await pulumi.log.info(`moveDatabase: is not set any more, so up removes what a move has kept: ${kept}`);
    }
  };
  return new pulumi.ResourceHook(`${name}-database-confirmed`, tell, { onDryRun: true });
}

/** What comes before a script's command, and how long the run waits for it. If it brings data, it may take as long as that needs. */
export function patience(bringsData: boolean): [limit: string, timeout: string] {
  const hours = 12;
  return bringsData ? [`CONVEX_DROPLET_LIMIT_SECONDS=${hours * 3600} `, `${hours}h`] : ["", "20m"];
}
