import * as pulumi from "@pulumi/pulumi";

import { databaseName } from "../contract/names.ts";
import { readApps } from "./apps.ts";
import { readBackups } from "./backups.ts";
import { readConvex } from "./convex.ts";
import { readEdge } from "./edge.ts";
import { readExposure } from "./exposure.ts";
import { readFileStorage, refuseSharedBucket } from "./file-storage.ts";
import { readFunctions } from "./functions.ts";
import { namesIn } from "./kinds/databases.ts";
import { readHost } from "./host.ts";
import { readPostgres, refuseWithoutVolume } from "./postgres.ts";
import { Reader } from "./reader.ts";
import { tokenMistakes } from "./token.ts";

/**
 * Reads and checks the stack's configuration, one file for each area. Pulumi.yaml has the descriptions and defaults, the areas
 * have the types. A setting has the same name in Pulumi.yaml, in its area and in the arguments of components, except the
 * settings that `exposure` combines.
 *
 * @throws pulumi.RunError with every mistake at once, each with what is right and how to set it
 */
export function loadSettings() {
  const read = new Reader();
  const [functions, host, exposure] = [readFunctions(read), readHost(read), readExposure(read)];
  const [edge, convex] = [readEdge(read, exposure.hosts), readConvex(read)];
  const postgres = readPostgres(read, databaseName(convex.instanceName));
  const settings = {
    functions,
    host,
    exposure,
    edge,
    convex,
    postgres,
    backups: readBackups(read, host.region),
    files: readFileStorage(read, host.region),
    apps: readApps(read, { hosts: exposure.hosts, edge, databases: namesIn(postgres.databases) }),
  };
  refuseSharedBucket(read, { ...settings.backups, ...settings.files });
  refuseWithoutVolume(read, { ...settings.postgres, ...settings.backups, ...settings.host });
  read.refuseUnknown();

  const mistakes = [...read.mistakes, ...tokenMistakes()];
  if (mistakes.length > 0) {
    const count = mistakes.length === 1 ? "one mistake" : `${mistakes.length} mistakes`;
    throw new pulumi.RunError(
      `the configuration of stack ${pulumi.getStack()} has ${count}:\n${mistakes.map((mistake) => `  ${mistake}`).join("\n")}`,
    );
  }
  return settings;
}
