import { once, EventEmitter } from "node:events";

import type { SpacesFault } from "../spaces/faults.ts";

/** Makes a request to the API fail, or delays it. */
export interface RequestFault {
  kind: "request";
  /** Undefined matches every method. */
  method?: string;
  path: string;
  /** If undefined, the request is only delayed, then served as usual. */
  status?: number;
  message?: string;
  retryAfterSeconds?: number;
  delayMilliseconds: number;
  /** Serves the request, then closes the connection without an answer. */
  lost?: true;
}

/** Makes an action end `errored` without any work. */
export interface ActionFault {
  kind: "action";
  /** The action's type as clients see it, such as `attach_volume`. */
  action: string;
}

/**
 * Makes a droplet not boot. `never`: it stays `new`, and its create action in progress, until the fault is deleted.
 * `dead`: it becomes `active`, but its machine is off and does not answer until it is powered on, cycled or rebooted.
 */
export interface BootFault {
  kind: "boot";
  boot: "never" | "dead";
}

export type NewFault = RequestFault | ActionFault | BootFault | SpacesFault;

type Fault = { id: number; remaining: number } & NewFault;

/** Failures on demand, for tests; kept in memory only. Each applies to the next requests, actions or boots that match it. */
export class Faults {
  readonly #faults = new Map<number, Fault>();
  readonly #lifted = new EventEmitter().setMaxListeners(0);
  #nextId = 1;

  add(fault: NewFault, count: number): Fault {
    const added = { id: this.#nextId++, remaining: count, ...fault };
    this.#faults.set(added.id, added);
    return added;
  }

  list(): Fault[] {
    return [...this.#faults.values()];
  }

  remove(id: number): boolean {
    const existed = this.#faults.delete(id);
    this.#lifted.emit(String(id));
    return existed;
  }

  takeRequest(method: string, path: string): RequestFault | undefined {
    return this.#take(
      (fault) =>
        fault.kind === "request" &&
        (fault.method === undefined || fault.method === method) &&
        new RegExp(fault.path).test(path),
    ) as RequestFault | undefined;
  }

  takeAction(type: string): boolean {
    return this.#take((fault) => fault.kind === "action" && fault.action === type) !== undefined;
  }

  takeBoot(): (BootFault & { id: number }) | undefined {
    return this.#take((fault) => fault.kind === "boot") as (BootFault & { id: number }) | undefined;
  }

  takeSpaces(method: string, subject: string, accessKey: string | undefined): SpacesFault | undefined {
    return this.#take(
      (fault) =>
        fault.kind === "spaces" &&
        (fault.method === undefined || fault.method === method) &&
        (fault.accessKey === undefined || fault.accessKey === accessKey) &&
        new RegExp(fault.path).test(subject),
    ) as SpacesFault | undefined;
  }

  /** Resolves when the fault is deleted; rejects if `signal` aborts first. */
  async lifted(fault: { id: number }, signal: AbortSignal): Promise<void> {
    if (this.#faults.has(fault.id)) await once(this.#lifted, String(fault.id), { signal });
  }

  #take(fits: (fault: Fault) => boolean): Fault | undefined {
    const fault = this.list().find((candidate) => candidate.remaining > 0 && fits(candidate));
    if (fault) fault.remaining--;
    return fault;
  }
}
