import type { FastifyInstance } from "fastify";

import { actionList, findAction } from "../actions.ts";
import type { Cloud } from "../cloud.ts";
import { paginate } from "./pagination.ts";

export function actionRoutes(api: FastifyInstance, { store }: Cloud): void {
  api.get("/v2/actions", (request) => paginate(request, "actions", actionList(store.state)));

  api.get<{ Params: { id: string } }>("/v2/actions/:id", (request) => findAction(store.state, request.params.id));
}
