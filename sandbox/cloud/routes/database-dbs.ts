import { randomUUID } from "node:crypto";

import type { FastifyInstance } from "fastify";

import { identifier } from "../../droplet/database/sql.ts";
import type { Cloud } from "../cloud.ts";
import { databaseSpec } from "../database-specs.ts";
import { conflict, notFound, unprocessable } from "../errors.ts";
import { onlineDatabase, recordedDatabase } from "../lookups.ts";
import type { DatabaseId } from "./database-id.ts";
import { Fields } from "./fields.ts";

interface DbName {
  Params: { id: string; db: string };
}

const PATH = "/v2/databases/:id/dbs/:db";

/** The databases of a cluster. Each answer comes when the change is in force. Those that were made with SQL are not shown. */
export function databaseDbRoutes(api: FastifyInstance, { databases, hypervisor, store }: Cloud): void {
  const find = ({ id, db }: DbName["Params"]) => {
    const database = recordedDatabase(store.state, id);
    if (!database.db_names.includes(db)) throw notFound();
    return database;
  };

  api.get<DatabaseId>("/v2/databases/:id/dbs", (request) => ({
    dbs: recordedDatabase(store.state, request.params.id).db_names.map((name) => ({ name })),
  }));

  api.post<DatabaseId>("/v2/databases/:id/dbs", async (request, reply) => {
    const name = new Fields(request.body).text("name");
    if (!/^[a-zA-Z0-9_][a-zA-Z0-9_-]{0,62}$/.test(name)) throw unprocessable("invalid database name");
    await store.change((draft) => {
      const database = onlineDatabase(draft, request.params.id);
      if (database.db_names.includes(name)) throw conflict("database name is not available");
      database.db_names.push(name);
      database.revision = randomUUID();
    });
    await databases.bring(request.params.id);
    void reply.code(201);
    return { db: { name } };
  });

  api.get<DbName>(PATH, (request) => {
    find(request.params);
    return { db: { name: request.params.db } };
  });

  api.delete<DbName>(PATH, async (request, reply) => {
    const { id, db } = request.params;
    find(request.params);
    const database = onlineDatabase(store.state, id);
    if (db === database.db_names[0]) throw unprocessable("the default database cannot be deleted");
    await hypervisor.queryDatabase(
      databaseSpec(store.state, database),
      "postgres",
      `drop database if exists ${identifier(db)} with (force)`,
    );
    await store.change((draft) => {
      const changed = recordedDatabase(draft, id);
      changed.db_names = changed.db_names.filter((name) => name !== db);
    });
    return reply.code(204).send();
  });
}
