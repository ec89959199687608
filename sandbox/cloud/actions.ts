import { notFound, unprocessable } from "./errors.ts";
import type { ActionRecord, CloudState, Work } from "./records.ts";
import { regionOf } from "./regions.ts";
import { timestamp } from "./time.ts";

/** An action's `type` as clients see it. */
export function actionType(work: Work): string {
  return work.kind === "resize_volume" ? "resize" : work.kind;
}

/** If more actions than this are finished, the oldest are forgotten. */
const REMEMBERED = 1000;

/**
 * Records a new action.
 *
 * @throws ApiError 422 if the droplet, volume or reserved address already has one in progress
 */
export function beginAction(draft: CloudState, region: string, work: Work): ActionRecord {
  if (work.droplet_id !== null && isLocked(draft, work.droplet_id)) {
    throw unprocessable("Droplet already has a pending event.");
  }
  if ("volume_id" in work && volumeIsBusy(draft, work.volume_id)) {
    throw unprocessable("Volume already has a pending event.");
  }
  if ("reserved_ip" in work && reservedIpIsBusy(draft, work.reserved_ip)) throw reservedIpPending();
  const action: ActionRecord = {
    id: draft.next.action++,
    status: "in-progress",
    started_at: timestamp(),
    completed_at: null,
    region,
    work,
  };
  const finished = draft.actions.filter((other) => other.status !== "in-progress");
  const forgotten = new Set(finished.slice(0, Math.max(0, finished.length - REMEMBERED)));
  draft.actions = [...draft.actions.filter((other) => !forgotten.has(other)), action];
  return action;
}

export function endAction(draft: CloudState, id: number, status: "completed" | "errored"): void {
  const action = draft.actions.find((candidate) => candidate.id === id);
  if (!action) throw new Error(`Action ${id}: forgotten, must be in progress.`);
  action.status = status;
  action.completed_at = timestamp();
}

/** A droplet is locked while an action on it, or on a volume or reserved address for it, is in progress. */
export function isLocked(state: CloudState, dropletId: number): boolean {
  return state.actions.some((action) => action.status === "in-progress" && action.work.droplet_id === dropletId);
}

export function volumeIsBusy(state: CloudState, volumeId: string): boolean {
  return state.actions.some(
    ({ status, work }) => status === "in-progress" && "volume_id" in work && work.volume_id === volumeId,
  );
}

export function reservedIpIsBusy(state: CloudState, ip: string): boolean {
  return state.actions.some(
    ({ status, work }) => status === "in-progress" && "reserved_ip" in work && work.reserved_ip === ip,
  );
}

export const reservedIpPending = () => unprocessable("The reserved IP already has a pending event.");

/** Whether an action is one on a droplet itself. */
export function isOnDroplet(work: Work, dropletId: number): boolean {
  return !("volume_id" in work) && !("reserved_ip" in work) && work.droplet_id === dropletId;
}

export function actionView(action: ActionRecord) {
  return {
    id: action.id,
    status: action.status,
    type: actionType(action.work),
    started_at: action.started_at,
    completed_at: action.completed_at,
    ...subject(action.work),
    region: regionOf(action.region),
    region_slug: action.region,
  };
}

function subject(work: Work) {
  // Volumes have no numeric id, so the API shows none, and calls their part of the cloud the backend.
  if ("volume_id" in work) return { resource_id: null, resource_type: "backend" };
  // An address's numeric id is its 32 bits.
  if ("reserved_ip" in work) {
    const id = work.reserved_ip.split(".").reduce((bits, part) => bits * 256 + Number(part), 0);
    return { resource_id: id, resource_type: "reserved_ip" };
  }
  return { resource_id: work.droplet_id, resource_type: "droplet" };
}

/** The actions that `concerns` selects, newest first, as the API lists them. */
export function actionList(state: CloudState, concerns: (work: Work) => boolean = () => true) {
  return state.actions
    .filter((action) => concerns(action.work))
    .reverse()
    .map(actionView);
}

export function findAction(state: CloudState, id: string, concerns: (work: Work) => boolean = () => true) {
  const action = state.actions.find((candidate) => String(candidate.id) === id && concerns(candidate.work));
  if (!action) throw notFound();
  return { action: actionView(action) };
}
