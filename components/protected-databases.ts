import * as pulumi from "@pulumi/pulumi";

import { valueOf } from "../contract/value-of.ts";
import { itemsIn } from "../contract/scripts.ts";
import { CONNECTIONS, type FurtherDatabase } from "../settings/kinds/databases.ts";
import { onThisStack } from "../settings/on-this-stack.ts";
import type { Shape } from "../settings/postgres.ts";
import { formerStdin } from "./former-stdin.ts";

/** What the server's script was given, and what is to happen to it. */
interface Wanted {
  databases: { name: string }[];
  protectData: boolean;
}

/**
 * For the `beforeUpdate` of the server's script. Refuses, also in a preview, to remove a protected database. The engine would refuse to
 * delete it only after the script has closed it to its app.
 */
export function refuseRemoval(name: string, { databases, protectData }: Wanted): pulumi.ResourceHook {
  const refuse = async ({ oldInputs }: pulumi.ResourceHookArgs) => {
    const former = (await valueOf((oldInputs as { stdin?: pulumi.Input<string> }).stdin)) ?? "";
    const gone = itemsIn(former, "databases")
      .map((line) => line.split(" ")[0] ?? "")
      .filter((database) => database !== "" && !databases.some((wanted) => wanted.name === database));
    if (protectData && gone.length > 0) throw new Error(gone.map(refusal).join("\n"));
  };
  return new pulumi.ResourceHook(`${name}-removed-databases`, refuse, { onDryRun: true });
}

function refusal(database: string): string {
  return (
    `convex-droplet:databases.${database}: is not there any more, but its data is protected, so it should be. Nothing was changed. ` +
    `Set it again, with the options that it had. If its data may go, then run ${onThisStack("config set", "protectData false")} && ${onThisStack("up")}, ` +
    `before you remove it with: ${onThisStack("config rm", `--path databases.${database}`)}`
  );
}

/** What is to happen to the databases, and where they are to be. */
interface Moved {
  database: Shape;
  databases: Pick<FurtherDatabase, "name" | "shadow">[];
  moveDatabase: boolean;
}

/**
 * For the `beforeCreate` and the `beforeUpdate` of the server's script, and for the `beforeCreate` of a cluster, which would cost money before
 * that. Refuses, also in a preview, to remove a database or a shadow in the run of a move, whether data is protected or not: only declared
 * databases are moved, so the former place would have the only copy, and this run could not delete it at the new one.
 */
export function refuseRemovalInMove(name: string, { database, databases, moveDatabase }: Moved): pulumi.ResourceHook {
  const refuse = async () => {
    if (!moveDatabase) return;
    // Until the run of the move has come to its end, the state has the script of the former place.
    const former = await formerStdin(scriptOf(name, database === "managed" ? "droplet" : "managed"));
    const refusals = itemsIn(former ?? "", "databases").flatMap((line) => {
      const [was = "", ...options] = line.split(" ");
      const now = databases.find((wanted) => wanted.name === was);
      const hadShadow = options.includes("shadow");
      if (was === "" || (now !== undefined && (!hadShadow || now.shadow !== undefined))) return [];
      const shadow = `databases.${was}.shadow`;
      const setting = hadShadow ? `${shadow} true` : `databases.${was}.connections ${CONNECTIONS.standard}`;
      return [refusalInMove(now === undefined ? `databases.${was}` : shadow, setting)];
    });
    if (refusals.length > 0) throw new Error(refusals.join("\n"));
  };
  return new pulumi.ResourceHook(`${name}-databases-removed-in-move`, refuse, { onDryRun: true });
}

/** Logical name of the script of the server at a place. */
export function scriptOf(name: string, place: Shape): string {
  return place === "managed" ? `${name}-database-client` : `${name}-server`;
}

function refusalInMove(path: string, setting: string): string {
  return (
    `convex-droplet:${path}: is not there any more, but this run moves the database, and would leave its data behind. Nothing was changed. ` +
    `Set it again, with the options that it had: ${onThisStack("config set", `--path ${setting}`)} && ${onThisStack("up")}; confirm the move: ` +
    `${onThisStack("config rm", "moveDatabase")} && ${onThisStack("up")}; then remove it: ${onThisStack("config rm", `--path ${path}`)}`
  );
}
