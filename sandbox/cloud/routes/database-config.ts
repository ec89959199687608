import { randomUUID } from "node:crypto";

import type { FastifyInstance } from "fastify";

import type { Cloud } from "../cloud.ts";
import { configView, DATABASE_SETTINGS, type DatabaseConfig } from "../database-config.ts";
import { databaseSizeOf, maxConnections } from "../database-sizes.ts";
import { badRequest, notSimulated, unprocessable } from "../errors.ts";
import { recordedDatabase } from "../lookups.ts";
import type { DatabaseId } from "./database-id.ts";

/** A cluster's configuration: settings of PostgreSQL. */
export function databaseConfigRoutes(api: FastifyInstance, { databases, store }: Cloud): void {
  api.get<DatabaseId>("/v2/databases/:id/config", (request) => {
    const database = recordedDatabase(store.state, request.params.id);
    return { config: configView(database.config, maxConnections(databaseSizeOf(database.size))) };
  });

  api.patch<DatabaseId>("/v2/databases/:id/config", async (request, reply) => {
    const changes = readConfig((request.body as { config?: unknown } | undefined)?.config);
    await store.change((draft) => {
      const database = recordedDatabase(draft, request.params.id);
      Object.assign(database.config, changes);
      database.revision = randomUUID();
    });
    await databases.bring(request.params.id);
    return reply.code(200).send();
  });
}

function readConfig(given: unknown): DatabaseConfig {
  if (typeof given !== "object" || given === null) throw badRequest("config is required");
  return Object.fromEntries(
    Object.entries(given as Record<string, unknown>).map(([name, value]): [string, number | string] => {
      const setting = DATABASE_SETTINGS[name];
      if (!setting) throw notSimulated(`The database setting ${name}`);
      const fits =
        "values" in setting
          ? typeof value === "string" && setting.values.includes(value)
          : typeof value === "number" && value >= setting.least && value <= setting.most;
      if (!fits) throw unprocessable(`invalid value for ${name}`);
      return [name, value as number | string];
    }),
  );
}
