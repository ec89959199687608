import type { FastifyInstance } from "fastify";

import { MAX_RESERVED_IPS } from "../addresses.ts";
import type { Cloud } from "../cloud.ts";

export function accountRoutes(api: FastifyInstance, { store }: Cloud): void {
  api.get("/v2/account", () => ({
    account: {
      droplet_limit: 25,
      floating_ip_limit: MAX_RESERVED_IPS,
      reserved_ip_limit: MAX_RESERVED_IPS,
      volume_limit: 100,
      name: "Sandbox",
      email: "sandbox@example.com",
      uuid: store.state.account.uuid,
      email_verified: true,
      status: "active",
      status_message: "",
      team: { uuid: store.state.account.uuid, name: "Sandbox" },
    },
  }));
}
