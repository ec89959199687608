import type { FastifyInstance } from "fastify";

import type { Cloud } from "../cloud.ts";
import { notFound, unprocessable } from "../errors.ts";
import { recordedDatabase, visibleDatabases } from "../lookups.ts";
import type { CloudState, DatabaseRecord } from "../records.ts";
import type { DatabaseId } from "./database-id.ts";
import type { Fields } from "./fields.ts";

export function databaseBackupRoutes(api: FastifyInstance, { store }: Cloud): void {
  api.get<DatabaseId>("/v2/databases/:id/backups", (request) => {
    const { backups, created_at: created } = recordedDatabase(store.state, request.params.id);
    const time = new Date(created);
    return {
      backups: backups.map(({ id: _id, ...backup }) => ({ ...backup, incremental: false })),
      scheduled_backup_time: {
        backup_hour: time.getUTCHours(),
        backup_minute: time.getUTCMinutes(),
        backup_interval_hours: 24,
      },
    };
  });
}

/**
 * The cluster and the moment that a new cluster is made from, if the request names one: any moment since the first backup.
 *
 * @throws ApiError 404 if there is no such cluster
 * @throws ApiError 422 if nothing is left of that moment
 */
export function readBackupRestore(
  state: CloudState,
  body: Fields,
): { source: DatabaseRecord; restore: NonNullable<DatabaseRecord["restore"]> } | undefined {
  const fields = body.object("backup_restore");
  if (!fields) return undefined;
  const name = fields.text("database_name");
  const source = visibleDatabases(state).find((database) => database.name === name);
  if (!source) throw notFound();
  const given = fields.optionalText("backup_created_at") ?? "";
  const time = given === "" ? Date.now() : Date.parse(given);
  const backup = source.backups.findLast(({ created_at: created }) => Date.parse(created) <= time);
  if (!backup || time > Date.now()) throw unprocessable("no backup of this time is available");
  const isBackup = given === "" || Date.parse(backup.created_at) === time;
  return {
    source,
    restore: {
      source_id: source.id,
      backup_id: backup.id,
      ...(!isBackup && { time: new Date(time).toISOString() }),
    },
  };
}
