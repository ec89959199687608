import type { FastifyInstance } from "fastify";

import { actionList, actionView, beginAction, findAction } from "../actions.ts";
import type { Cloud } from "../cloud.ts";
import { unprocessable } from "../errors.ts";
import { recordedReservedIp, reservedIpOf } from "../lookups.ts";
import { projectOf, reservedIpUrn } from "../project-resources.ts";
import type { CloudState, ReservedIpRecord, Work } from "../records.ts";
import { Fields } from "./fields.ts";
import { paginate } from "./pagination.ts";

interface Ip {
  Params: { ip: string };
}

export function reservedIpActionRoutes(api: FastifyInstance, cloud: Cloud): void {
  const { store } = cloud;
  const concerning = (ip: string) => (work: Work) => "reserved_ip" in work && work.reserved_ip === ip;
  const projectId = (ip: string) => ({ project_id: projectOf(store.state, reservedIpUrn(ip))?.id });

  api.post<Ip>("/v2/reserved_ips/:ip/actions", async (request, reply) => {
    const body = new Fields(request.body);
    const { ip } = request.params;
    const action = await store.change((draft) => {
      const reserved = recordedReservedIp(draft, ip);
      return beginAction(draft, reserved.region, readWork(draft, reserved, body));
    });
    cloud.actions.start(action);
    void reply.code(201);
    return { action: { ...actionView(action), ...projectId(ip) } };
  });

  api.get<Ip>("/v2/reserved_ips/:ip/actions", (request) => {
    const { ip } = recordedReservedIp(store.state, request.params.ip);
    return paginate(request, "actions", actionList(store.state, concerning(ip)));
  });

  api.get<{ Params: { ip: string; action: string } }>("/v2/reserved_ips/:ip/actions/:action", (request) => {
    const { ip } = recordedReservedIp(store.state, request.params.ip);
    const { action } = findAction(store.state, request.params.action, concerning(ip));
    return { action: { ...action, ...projectId(ip) } };
  });
}

/** Reads the requested action, and checks that it is possible for the address. */
function readWork(state: CloudState, reserved: ReservedIpRecord, body: Fields): Work {
  switch (body.text("type")) {
    case "assign":
      return readAssignment(state, reserved, body);
    case "unassign":
      if (reserved.droplet_id === null) throw unprocessable("The reserved IP is not assigned to a Droplet.");
      return { kind: "unassign_ip", droplet_id: reserved.droplet_id, reserved_ip: reserved.ip };
    default:
      throw unprocessable("Unsupported action type");
  }
}

/** An address that another droplet has moves; a droplet has one at most. */
export function readAssignment(state: CloudState, reserved: ReservedIpRecord, body: Fields): Work {
  const dropletId = body.integer("droplet_id");
  const droplet = state.droplets.find(({ id }) => id === dropletId);
  if (!droplet) throw unprocessable("Droplet not found");
  if (droplet.region !== reserved.region) throw unprocessable("Droplet and reserved IP must be in the same region");
  if ((reservedIpOf(state, dropletId) ?? reserved.ip) !== reserved.ip) {
    throw unprocessable("Droplet already has a reserved IP");
  }
  return { kind: "assign_ip", droplet_id: dropletId, reserved_ip: reserved.ip };
}
