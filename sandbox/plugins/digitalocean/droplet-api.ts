import type { Context } from "../framework/definition.ts";
import { failed, messageOf } from "../framework/errors.ts";
import { waitForState } from "../framework/state-change.ts";
import { type Action, type Client, orGone, WAIT, waitForAction } from "./client.ts";

/** A droplet as the API returns it. */
export interface Droplet {
  id: number;
  name: string;
  memory: number;
  vcpus: number;
  disk: number;
  locked: boolean;
  status: string;
  created_at: string;
  features: string[];
  volume_ids: string[];
  size: { slug: string; price_hourly: number; price_monthly: number };
  networks: { v4: Address[]; v6: Address[] };
  region: { slug: string };
  tags: string[];
  vpc_uuid: string;
}

interface Address {
  ip_address: string;
  type: "public" | "private";
}

/** For {@link DropletApi.waitFor}. */
export const status = (droplet: Droplet): string => droplet.status;

/** The API's calls for one droplet. Errors name the droplet. */
export class DropletApi {
  readonly #client: Client;
  readonly #signal: AbortSignal;
  readonly #timeoutSeconds: number | undefined;
  readonly #id: string;
  /** As the API last returned it. */
  last: Droplet | undefined;

  constructor({ client, signal, timeoutSeconds }: Context<Client>, id: string) {
    this.#timeoutSeconds = timeoutSeconds;
    this.#client = client;
    this.#signal = signal;
    this.#id = id;
  }

  async get(): Promise<Droplet> {
    const { droplet } = await this.#client.api
      .request<{ droplet: Droplet }>("GET", `/v2/droplets/${this.#id}`)
      .catch(failed("Error retrieving droplet"));
    this.last = droplet;
    return droplet;
  }

  /** Starts an action, and does not wait for it. */
  async start(type: string, parameters: Record<string, unknown> = {}): Promise<Action> {
    const { action } = await this.#client.api
      .request<{ action: Action }>("POST", `/v2/droplets/${this.#id}/actions`, { type, ...parameters })
      .catch(failed(`Error with action ${type} of droplet (${this.#id})`));
    return action;
  }

  async run(type: string, parameters?: Record<string, unknown>): Promise<void> {
    await waitForAction(this.#client, await this.start(type, parameters)).catch(
      failed(`Error waiting for action ${type} of droplet (${this.#id})`),
    );
  }

  async attachOrDetach(type: "attach" | "detach", volumeId: string): Promise<void> {
    const doing = `Error with ${type} of volume "${volumeId}", droplet (${this.#id})`;
    const body = { type, droplet_id: Number(this.#id) };
    const { action } = await this.#client.api
      .request<{ action: Action }>("POST", `/v2/volumes/${volumeId}/actions`, body)
      .catch(failed(doing));
    await waitForAction(this.#client, action).catch(failed(doing));
  }

  /**
   * Waits until the droplet is unlocked and `look` returns `target`. If the droplet does not exist, a create waits for it,
   * an update fails, and for a delete it is in the state `Not Found`.
   */
  async waitFor(
    target: string,
    pending: string[],
    look: (droplet: Droplet) => string,
    during: "create" | "update" | "delete" = "update",
  ): Promise<void> {
    await waitForState(
      {
        ...WAIT,
        timeout: this.#timeoutSeconds ?? WAIT.timeout,
        target,
        pending,
        notFoundChecks: 120,
        refresh: async () => {
          const droplet = await orGone(this.get());
          if (droplet !== undefined) return droplet.locked ? undefined : look(droplet);
          if (during === "update") throw new Error(`droplet (${this.#id}) not found during update`);
          return during === "delete" ? "Not Found" : undefined;
        },
      },
      this.#client.clock,
      this.#signal,
    );
  }

  /** Powers the droplet off, resizes it, and powers it on again, even if the resize failed. */
  async resize(size: string, disk: boolean): Promise<void> {
    await this.start("power_off").catch((error: unknown) => {
      if (!messageOf(error).includes("Droplet is already powered off")) throw error;
    });
    await this.waitFor("off", ["active"], status).catch(
      failed(`Error waiting for droplet (${this.#id}) to become powered off`),
    );
    try {
      await this.run("resize", { size, disk });
    } finally {
      await this.start("power_on");
      await this.waitFor("active", ["off"], status);
    }
  }
}
