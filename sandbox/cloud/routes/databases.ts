import { randomUUID } from "node:crypto";

import type { FastifyInstance } from "fastify";

import type { Cloud } from "../cloud.ts";
import { DATABASE_REGIONS } from "../database-versions.ts";
import { unprocessable } from "../errors.ts";
import { onlineDatabase, recordedDatabase, visibleDatabases } from "../lookups.ts";
import type { CloudState, DatabaseRecord } from "../records.ts";
import type { DatabaseId } from "./database-id.ts";
import { addDatabase, readMaintenanceWindow, resizeDatabase } from "./database-requests.ts";
import { readDatabaseRules } from "./database-rules.ts";
import { databaseView, ruleView } from "./database-views.ts";
import { Fields } from "./fields.ts";
import { paginate, queryParameter } from "./pagination.ts";

/** Database clusters. Their servers follow in the background, as `status` shows; trusted sources are in force at once. */
export function databaseRoutes(api: FastifyInstance, { applyDatabaseAccess, databases, store }: Cloud): void {
  const find = (id: string) => recordedDatabase(store.state, id);

  /** Changes a cluster, and lets its servers follow. */
  const change = async (id: string, edit: (database: DatabaseRecord, draft: CloudState) => void) => {
    await store.change((draft) => {
      const database = recordedDatabase(draft, id);
      edit(database, draft);
      database.revision = randomUUID();
    });
    databases.start(id);
  };

  api.get("/v2/databases", (request) => {
    const tag = queryParameter(request, "tag_name");
    const found = visibleDatabases(store.state).filter(({ tags }) => tag === undefined || tags.includes(tag));
    return paginate(
      request,
      "databases",
      found.map((database) => databaseView(store.state, database)),
    );
  });

  api.post("/v2/databases", async (request, reply) => {
    const body = new Fields(request.body);
    const database = await store.change((draft) => addDatabase(draft, body));
    await applyDatabaseAccess();
    databases.start(database.id);
    void reply.code(201);
    return { database: databaseView(store.state, database) };
  });

  api.get<DatabaseId>("/v2/databases/:id", (request) => ({
    database: databaseView(store.state, find(request.params.id)),
  }));

  api.delete<DatabaseId>("/v2/databases/:id", async (request, reply) => {
    await change(request.params.id, (database) => {
      database.status = "deleting";
    });
    await applyDatabaseAccess();
    return reply.code(204).send();
  });

  api.put<DatabaseId>("/v2/databases/:id/resize", async (request, reply) => {
    const body = new Fields(request.body);
    await change(request.params.id, (database, draft) => {
      resizeDatabase(draft, database, body);
    });
    await applyDatabaseAccess();
    return reply.code(202).send();
  });

  api.put<DatabaseId>("/v2/databases/:id/migrate", async (request, reply) => {
    const region = new Fields(request.body).text("region");
    if (!DATABASE_REGIONS.includes(region)) throw unprocessable("invalid region");
    await change(request.params.id, (database, draft) => {
      onlineDatabase(draft, database.id);
      Object.assign(database, { region, status: "migrating" });
    });
    return reply.code(202).send();
  });

  api.put<DatabaseId>("/v2/databases/:id/upgrade", (request) => {
    find(request.params.id);
    // There is only one version.
    new Fields(request.body).text("version");
    throw unprocessable("invalid cluster engine version");
  });

  api.put<DatabaseId>("/v2/databases/:id/maintenance", async (request, reply) => {
    const window = readMaintenanceWindow(new Fields(request.body));
    await store.change((draft) => {
      recordedDatabase(draft, request.params.id).maintenance_window = window;
    });
    return reply.code(204).send();
  });

  api.get<DatabaseId>("/v2/databases/:id/firewall", (request) => {
    const database = find(request.params.id);
    return { rules: database.rules.map((rule) => ruleView(database, rule)) };
  });

  api.put<DatabaseId>("/v2/databases/:id/firewall", async (request, reply) => {
    const body = new Fields(request.body).needing("rules");
    await store.change((draft) => {
      const database = recordedDatabase(draft, request.params.id);
      database.rules = readDatabaseRules(draft, body, database.rules);
    });
    await applyDatabaseAccess();
    return reply.code(204).send();
  });

  api.get<DatabaseId>("/v2/databases/:id/ca", (request) => {
    const { facts } = find(request.params.id);
    if (!facts) throw unprocessable("database cluster is not online");
    return { ca: { certificate: Buffer.from(facts.authority).toString("base64") } };
  });
}
