import type { FastifyInstance } from "fastify";

import { unprocessable } from "../errors.ts";
import type { Spaces } from "../../spaces/spaces.ts";
import { Fields } from "./fields.ts";

const ACTIONS = ["up", "down", "kill"] as const;

/**
 * `POST /_control/spaces` with `{action}` and the API's token answers 204. `down` makes Spaces close each connection until
 * `up`. `kill` kills the S3 servers, also in the middle of a request; the next request starts them again.
 */
export function spacesControlRoutes(api: FastifyInstance, spaces: Spaces): void {
  api.post("/_control/spaces", (request, reply) => {
    const given = new Fields(request.body).text("action");
    const action = ACTIONS.find((known) => known === given);
    if (!action) throw unprocessable(`action: is ${given}, must be one of ${ACTIONS.join(", ")}.`);
    spaces.control(action);
    return reply.code(204).send();
  });
}
