import type { Context } from "../framework/definition.ts";
import { failed } from "../framework/errors.ts";
import { waitForState } from "../framework/state-change.ts";
import { type Action, type Client, isNotFound, orGone, WAIT } from "./client.ts";

/** A reserved address as the API returns it. */
export interface ReservedIp {
  ip: string;
  region: { slug: string };
  droplet: { id: number; region: { slug: string } } | null;
}

export async function getReservedIp({ api }: Client, ip: string): Promise<ReservedIp> {
  const { reserved_ip: found } = await api
    .request<{ reserved_ip: ReservedIp }>("GET", `/v2/reserved_ips/${ip}`)
    .catch(failed("Error retrieving reserved IP"));
  return found;
}

/** Assigns an address when the droplet has no action of its own in progress. One on its volume still makes it fail. */
export async function assignIp(context: Context<Client>, ip: string, dropletId: number, doing: string): Promise<void> {
  await waitOnDroplet(context, dropletId).catch(
    failed(`Error waiting for droplet (${dropletId}) to be ready for reserved IP assign`),
  );
  const action = await start(context.client, ip, { type: "assign", droplet_id: dropletId }).catch(failed(doing));
  await waitFor(context, ip, action, ({ droplet }) => droplet?.id === dropletId).catch(
    failed(`Error waiting for reserved IP (${ip}) to be assigned`),
  );
}

export async function unassignIp(context: Context<Client>, ip: string, doing: string): Promise<void> {
  const action = await start(context.client, ip, { type: "unassign" }).catch(failed(doing));
  await waitFor(context, ip, action, ({ droplet }) => droplet === null).catch(
    failed(`Error waiting for reserved IP (${ip}) to be unassigned`),
  );
}

async function start({ api }: Client, ip: string, body: object): Promise<Action> {
  return (await api.request<{ action: Action }>("POST", `/v2/reserved_ips/${ip}/actions`, body)).action;
}

async function waitOnDroplet({ client, signal }: Context<Client>, dropletId: number): Promise<void> {
  await waitForState(
    {
      ...{ pending: ["waiting"], target: "ready", delay: 3, minTimeout: 2, timeout: 120 },
      refresh: async () => {
        const { actions } = await client.api
          .request<{ actions: Action[] }>("GET", `/v2/droplets/${dropletId}/actions?per_page=50`)
          .catch(failed(`Error retrieving droplet (${dropletId}) actions`));
        return actions.every(({ status }) => status === "completed" || status === "errored") ? "ready" : "waiting";
      },
    },
    client.clock,
    signal,
  );
}

/** Waits for an action. Some actions cannot be found; then the address itself shows whether they are done. */
async function waitFor(
  { client, signal }: Context<Client>,
  ip: string,
  { id }: Action,
  isDone: (reservedIp: ReservedIp) => boolean,
): Promise<void> {
  await waitForState(
    {
      ...WAIT,
      pending: ["new", "in-progress"],
      target: "completed",
      notFoundChecks: 60,
      refresh: async () => {
        const found = await orGone(
          client.api
            .request<{ action: Action }>("GET", `/v2/reserved_ips/${ip}/actions/${id}`)
            .catch((error: unknown) => {
              if (isNotFound(error)) throw error;
              return failed(`Error retrieving reserved IP (${ip}) ActionId (${id})`)(error);
            }),
        );
        if (found) return found.action.status;
        const reservedIp = await getReservedIp(client, ip).catch(() => undefined);
        return reservedIp && isDone(reservedIp) ? "completed" : undefined;
      },
    },
    client.clock,
    signal,
  );
}
