import { type Clock, waitForState } from "../framework/state-change.ts";
import { type Api, ApiError } from "./api.ts";
import type { SpacesSettings } from "./s3.ts";

/** What the resources use. */
export interface Client {
  api: Api;
  spaces: SpacesSettings;
  clock: Clock;
}

export interface Action {
  id: number;
  status: string;
  completed_at: string | null;
}

/** The official plugin's waits for a slow API; in seconds. */
export const WAIT = { delay: 10, minTimeout: 3, timeout: 3600 } as const;

/** Waits until an action of a droplet or volume is complete, even if the operation is cancelled. */
export async function waitForAction({ api, clock }: Client, action: Action): Promise<void> {
  await waitForState(
    {
      ...WAIT,
      pending: ["in-progress"],
      target: "completed",
      notFoundChecks: 60,
      refresh: async () => {
        const { action: now } = await api.request<{ action: Action }>("GET", `/v2/actions/${action.id}`);
        return now.status === "errored" ? "errored" : now.completed_at === null ? "in-progress" : "completed";
      },
    },
    clock,
  );
}

export function isNotFound(error: unknown): boolean {
  const answer = error instanceof Error && !(error instanceof ApiError) ? error.cause : error;
  return answer instanceof ApiError && answer.status === 404;
}

/** The answer, or undefined for 404. */
export async function orGone<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** For properties that the API returns in another case. */
export function ignoringCase(state: unknown, input: unknown): boolean {
  return String(state).toLowerCase() === String(input).toLowerCase();
}
