import type { FastifyInstance } from "fastify";

import { actionView, beginAction } from "../actions.ts";
import type { Cloud } from "../cloud.ts";
import { notSimulated, unprocessable } from "../errors.ts";
import { recordedDroplet, taggedDroplets } from "../lookups.ts";
import type { DropletRecord, Work } from "../records.ts";
import { findSize } from "../sizes.ts";
import { checkDropletName, readBackupPolicy } from "./droplet-requests.ts";
import { currentStatus } from "./droplet-views.ts";
import { Fields } from "./fields.ts";
import { queryParameter } from "./pagination.ts";

/** Actions of the real API that are not simulated; any other unknown action is a mistake of the client. */
const NOT_SIMULATED = [
  "change_kernel",
  "enable_private_networking",
  "password_reset",
  "rebuild",
  "rename_snapshot",
  "restore",
  "snapshot",
];

/** Actions that the API reference allows for all droplets of a tag. */
const BY_TAG = [
  ...["power_cycle", "power_on", "power_off", "shutdown"],
  ...["enable_ipv6", "enable_backups", "disable_backups", "snapshot"],
];

export function dropletActionRoutes(api: FastifyInstance, cloud: Cloud): void {
  const { store } = cloud;

  const begin = async (droplets: DropletRecord[], body: Fields) => {
    const found = await Promise.all(
      droplets.map(async (droplet) => ({ id: droplet.id, status: await currentStatus(cloud, droplet) })),
    );
    const actions = await store.change((draft) =>
      found.map(({ id, status }) => {
        const droplet = recordedDroplet(draft, id);
        return beginAction(draft, droplet.region, readDropletWork(droplet, status, body));
      }),
    );
    for (const action of actions) cloud.actions.start(action);
    return actions.map(actionView);
  };

  api.post<{ Params: { id: string } }>("/v2/droplets/:id/actions", async (request, reply) => {
    const droplet = recordedDroplet(store.state, request.params.id);
    const [action] = await begin([droplet], new Fields(request.body));
    void reply.code(201);
    return { action };
  });

  api.post("/v2/droplets/actions", async (request, reply) => {
    const tag = queryParameter(request, "tag_name");
    if (tag === undefined) throw unprocessable("tag_name: is absent, must name the droplets to act on.");
    const body = new Fields(request.body);
    if (!BY_TAG.includes(body.text("type"))) throw unprocessable("Unsupported action type");
    const actions = await begin(taggedDroplets(store.state, tag), body);
    void reply.code(201);
    return { actions };
  });
}

/** Reads the requested action, and checks that it is possible for the droplet. */
function readDropletWork(droplet: DropletRecord, status: DropletRecord["status"], body: Fields): Work {
  const kind = body.text("type");
  const target = { droplet_id: droplet.id };
  switch (kind) {
    case "power_on":
      if (status === "active" && !droplet.dead) throw unprocessable("Droplet is already powered on");
      return { kind, ...target };
    case "power_off":
      if (status === "off") throw unprocessable("Droplet is already powered off");
      return { kind, ...target };
    case "reboot":
      if (status === "off") throw unprocessable("Droplet is powered off");
      return { kind, ...target };
    // Not refused if the droplet is off: the official provider sends it before each graceful delete.
    case "shutdown":
    case "power_cycle":
    case "enable_ipv6":
      return { kind, ...target };
    case "rename": {
      const name = body.text("name");
      checkDropletName(name);
      return { kind, ...target, name };
    }
    case "resize":
      return readResize(droplet, status, body);
    case "disable_backups":
      return { kind, ...target };
    case "enable_backups":
      return { kind, ...target, policy: readBackupPolicy(body) };
    case "change_backup_policy":
      if (!droplet.backup_policy) throw unprocessable("Backups are not enabled on this Droplet");
      body.needing("backup_policy").object("backup_policy")?.needing("plan");
      return { kind, ...target, policy: readBackupPolicy(body) };
    default:
      if (NOT_SIMULATED.includes(kind)) throw notSimulated(`Droplet action ${kind}`);
      throw unprocessable("Unsupported action type");
  }
}

function readResize(droplet: DropletRecord, status: DropletRecord["status"], body: Fields): Work {
  const size = findSize(body.text("size"));
  const disk = body.optionalFlag("disk") ?? false;
  if (!size) throw unprocessable("You specified an invalid size for Droplet resize.");
  if (!size.regions.includes(droplet.region)) throw unprocessable("Size is not available in this region.");
  if (status !== "off") throw unprocessable("Droplet must be powered off before it can be resized");
  if (size.disk < droplet.disk) throw unprocessable("Size can not decrease size of Droplet's disk image");
  if (size.slug === droplet.size && !(disk && size.disk > droplet.disk)) {
    throw unprocessable("Droplet already has this size");
  }
  return { kind: "resize", droplet_id: droplet.id, size: size.slug, disk };
}
