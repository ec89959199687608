import type { FastifyInstance } from "fastify";

import { beginAction, reservedIpIsBusy, reservedIpPending } from "../actions.ts";
import { freeReservedAddress, MAX_RESERVED_IPS } from "../addresses.ts";
import type { Cloud } from "../cloud.ts";
import { unprocessable } from "../errors.ts";
import { recordedProject, recordedReservedIp } from "../lookups.ts";
import { assign, projectOf, reservedIpUrn, unassign } from "../project-resources.ts";
import type { CloudState, ReservedIpRecord } from "../records.ts";
import { findRegion, regionOf } from "../regions.ts";
import { dropletView } from "./droplet-views.ts";
import { Fields } from "./fields.ts";
import { apiUrl, paginate } from "./pagination.ts";
import { readAssignment } from "./reserved-ip-actions.ts";

interface Ip {
  Params: { ip: string };
}

export function reservedIpRoutes(api: FastifyInstance, cloud: Cloud): void {
  const { hypervisor, store } = cloud;

  api.get("/v2/reserved_ips", async (request) => {
    const page = paginate(request, "reserved_ips", store.state.reserved_ips);
    return { ...page, reserved_ips: await Promise.all(page.reserved_ips.map((one) => reservedIpView(cloud, one))) };
  });

  api.post("/v2/reserved_ips", async (request, reply) => {
    const body = new Fields(request.body).needing("droplet_id", "region");
    const { reserved, action } = await store.change((draft) => {
      const added = addReservedIp(draft, cloud.home.addressPrefix, body);
      if (!body.has("droplet_id")) return { reserved: added };
      return { reserved: added, action: beginAction(draft, added.region, readAssignment(draft, added, body)) };
    });
    if (action) cloud.actions.start(action);
    const link = (kind: string, id: number, rel: string) => ({ id, rel, href: `${apiUrl(request)}/v2/${kind}/${id}` });
    void reply.code(202);
    return {
      reserved_ip: { ...(await reservedIpView(cloud, reserved)), locked: action !== undefined },
      links: {
        droplets: action ? [link("droplets", body.integer("droplet_id"), "droplet")] : [],
        actions: action ? [link("actions", action.id, "assign_ip")] : [],
      },
    };
  });

  api.get<Ip>("/v2/reserved_ips/:ip", async (request) => ({
    reserved_ip: await reservedIpView(cloud, recordedReservedIp(store.state, request.params.ip)),
  }));

  api.delete<Ip>("/v2/reserved_ips/:ip", async (request, reply) => {
    const { ip } = recordedReservedIp(store.state, request.params.ip);
    if (reservedIpIsBusy(store.state, ip)) throw reservedIpPending();
    await hypervisor.releaseAddress(ip);
    await store.change((draft) => {
      draft.reserved_ips = draft.reserved_ips.filter((other) => other.ip !== ip);
      unassign(draft, reservedIpUrn(ip));
    });
    return reply.code(204).send();
  });
}

async function reservedIpView(cloud: Cloud, { ip, region, droplet_id: dropletId }: ReservedIpRecord) {
  const { state } = cloud.store;
  const droplet = state.droplets.find(({ id }) => id === dropletId);
  return {
    ip,
    region: regionOf(region),
    droplet: droplet ? await dropletView(cloud, droplet) : null,
    locked: reservedIpIsBusy(state, ip),
    project_id: projectOf(state, reservedIpUrn(ip))?.id,
  };
}

/** Records a new address in the region of the request, or in that of its droplet. */
function addReservedIp(draft: CloudState, prefix: string, body: Fields): ReservedIpRecord {
  const dropletId = body.optionalInteger("droplet_id");
  const droplet = draft.droplets.find(({ id }) => id === dropletId);
  if (dropletId !== undefined && !droplet) throw unprocessable("Droplet not found");
  const region = findRegion(droplet?.region ?? body.text("region"));
  if (!region?.available) throw unprocessable("You specified an invalid region for reserved IP creation.");
  const ip = freeReservedAddress(
    prefix,
    draft.reserved_ips.map((other) => other.ip),
  );
  if (ip === undefined) throw unprocessable(`You have reached the limit of ${MAX_RESERVED_IPS} reserved IPs.`);
  const reserved = { ip, region: region.slug, droplet_id: null };
  draft.reserved_ips.push(reserved);
  assign(draft, recordedProject(draft, body.optionalText("project_id") ?? "default"), reservedIpUrn(ip));
  return reserved;
}
