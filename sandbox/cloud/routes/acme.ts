import type { FastifyInstance } from "fastify";

import type { Hypervisor } from "../../droplet/hypervisor.ts";

/**
 * `POST /_control/acme`, with the API's token, starts the sandbox's ACME server if it does not run yet, and answers 200
 * `{directory, authority}`: the URL of its directory, and the authorities to trust as PEM.
 */
export function acmeRoutes(api: FastifyInstance, hypervisor: Hypervisor): void {
  api.post("/_control/acme", () => hypervisor.serveAcme());
}
