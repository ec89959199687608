import type { FastifyInstance } from "fastify";

import type { Cloud } from "../cloud.ts";
import { unprocessable } from "../errors.ts";
import { recordedDatabase } from "../lookups.ts";
import type { DatabaseId } from "./database-id.ts";
import { Fields } from "./fields.ts";

/**
 * `POST /_control/databases/:id` with `{action}` and the API's token answers 204 when the action's effect is there:
 *
 * - `fail` kills the primary server. A standby becomes the primary, its names lead to it, and a new standby is made. Without
 *   a standby, the server starts again with its data.
 * - `down` kills all servers; they stay down until `up`, or until the cluster is changed.
 * - `backup` makes one more backup. Otherwise, only the first is made.
 */
export function databaseControlRoutes(
  api: FastifyInstance,
  { applyDatabaseAccess, databases, hypervisor, store }: Cloud,
): void {
  api.post<DatabaseId>("/_control/databases/:id", async (request, reply) => {
    const action = new Fields(request.body).text("action");
    const { id, nodes } = recordedDatabase(store.state, request.params.id);
    const [primary, ...standbys] = nodes;
    if (primary === undefined) throw new Error(`database ${id}: it has no server.`);
    if (action === "fail") {
      await hypervisor.killDatabaseNode(primary);
      await store.change((draft) => {
        recordedDatabase(draft, id).nodes = [...standbys, primary];
      });
      await databases.bring(id);
      await applyDatabaseAccess();
    } else if (action === "down") {
      for (const node of nodes) await hypervisor.killDatabaseNode(node);
    } else if (action === "backup") {
      await databases.backUp(id);
    } else if (action === "up") {
      await databases.bring(id);
    } else {
      throw unprocessable(`action: is ${action}, must be fail, down, up or backup.`);
    }
    return reply.code(204).send();
  });
}
