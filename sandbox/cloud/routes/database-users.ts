import { randomUUID } from "node:crypto";

import type { FastifyInstance } from "fastify";

import { identifier } from "../../droplet/database/sql.ts";
import type { Cloud } from "../cloud.ts";
import { databaseSpec } from "../database-specs.ts";
import { conflict, notFound, unprocessable } from "../errors.ts";
import { onlineDatabase, recordedDatabase } from "../lookups.ts";
import type { DatabaseRecord, DatabaseUserRecord } from "../records.ts";
import { newDatabasePassword, newDatabaseUser } from "./database-requests.ts";
import { userView } from "./database-views.ts";
import type { DatabaseId } from "./database-id.ts";
import { Fields } from "./fields.ts";

interface UserName {
  Params: { id: string; user: string };
}

const PATH = "/v2/databases/:id/users/:user";

/** A cluster's users. Each answer comes when the change is in force. Users that were made with SQL are not shown. */
export function databaseUserRoutes(api: FastifyInstance, { databases, hypervisor, store }: Cloud): void {
  const find = ({ id, user }: UserName["Params"]) => {
    const database = recordedDatabase(store.state, id);
    return viewOf(database, userOf(database, user));
  };

  const change = async (id: string, edit: (database: DatabaseRecord) => DatabaseUserRecord) => {
    const { name } = await store.change((draft) => {
      const database = onlineDatabase(draft, id);
      database.revision = randomUUID();
      return edit(database);
    });
    await databases.bring(id);
    return { user: find({ id, user: name }) };
  };

  api.get<DatabaseId>("/v2/databases/:id/users", (request) => {
    const database = recordedDatabase(store.state, request.params.id);
    return { users: database.users.map((user) => viewOf(database, user)) };
  });

  api.post<DatabaseId>("/v2/databases/:id/users", async (request, reply) => {
    const body = new Fields(request.body);
    const name = body.text("name");
    if (!/^[a-zA-Z_][a-zA-Z0-9_.-]{0,62}$/.test(name)) throw unprocessable("invalid user name");
    const mayReplicate = body.object("settings")?.optionalFlag("pg_allow_replication") ?? false;
    const answer = await change(request.params.id, ({ users }) => {
      if (users.some((other) => other.name === name)) throw conflict("user already exists");
      const user = newDatabaseUser(name, mayReplicate);
      users.push(user);
      return user;
    });
    void reply.code(201);
    return answer;
  });

  api.get<UserName>(PATH, (request) => ({ user: find(request.params) }));

  api.put<UserName>(PATH, async (request, reply) => {
    const settings = new Fields(request.body).needing("settings").object("settings");
    const mayReplicate = settings?.optionalFlag("pg_allow_replication") ?? false;
    const answer = await change(request.params.id, (database) =>
      Object.assign(userOf(database, request.params.user), { may_replicate: mayReplicate }),
    );
    void reply.code(201);
    return answer;
  });

  api.delete<UserName>(PATH, async (request, reply) => {
    const { id, user: name } = request.params;
    const database = onlineDatabase(store.state, id);
    if (userOf(database, name) === database.users[0]) throw unprocessable("the default user cannot be deleted");
    await hypervisor
      .queryDatabase(databaseSpec(store.state, database), "defaultdb", `drop role if exists ${identifier(name)}`)
      .catch((error: unknown) => {
        // It owns something, or has rights on it.
        if (String(error).includes("cannot be dropped")) throw unprocessable("user owns objects and cannot be deleted");
        throw error;
      });
    await store.change((draft) => {
      const changed = recordedDatabase(draft, id);
      changed.users = changed.users.filter((user) => user.name !== name);
    });
    return reply.code(204).send();
  });

  api.post<UserName>(`${PATH}/reset_auth`, (request) =>
    change(request.params.id, (database) =>
      Object.assign(userOf(database, request.params.user), { password: newDatabasePassword() }),
    ),
  );
}

function userOf({ users }: DatabaseRecord, name: string): DatabaseUserRecord {
  const user = users.find((candidate) => candidate.name === name);
  if (!user) throw notFound();
  return user;
}

function viewOf({ users }: DatabaseRecord, user: DatabaseUserRecord) {
  return userView(user, user === users[0]);
}
