import { Account, RefusedError } from "../digitalocean/account.ts";
import type { Target } from "../ssh/connect.ts";
import type { Resource, State } from "./state.ts";
import { RESOURCES, TYPES } from "../contract/names.ts";

const DROPLET = [TYPES.droplet, RESOURCES.droplet] as const;

/** Undefined if the stack does not have a droplet yet. */
export function findDroplet(state: State): Resource | undefined {
  return state.find(...DROPLET);
}

/**
 * How to connect to a stack's droplet. It is known as soon as the droplet exists, even if the first `up` failed later.
 *
 * @throws Error if the stack has no droplet
 */
export function dropletTarget(state: State): Target {
  const key = (name: string) => state.get(TYPES.key, name).outputs;
  return {
    host: String(state.get(...DROPLET).outputs["ipv4Address"]),
    privateKey: String(key(RESOURCES.deployKey)["privateKeyOpenssh"]),
    hostKey: String(key(RESOURCES.hostKey)["publicKeyOpenssh"]).trim(),
  };
}

/**
 * The status of a stack's droplet at DigitalOcean: `active`, `off`, `new`, `archive`, or `gone` if it does not exist there.
 * Undefined if the stack has no droplet, or DigitalOcean cannot be asked.
 */
export async function dropletStatus(state: State): Promise<string | undefined> {
  const [account, id] = [accountOf(state), findDroplet(state)?.id];
  if (account === undefined || id === undefined) return undefined;
  try {
    return (await account.ask<{ droplet: { status: string } }>("GET", `/v2/droplets/${id}`)).droplet.status;
  } catch (error) {
    return error instanceof RefusedError && error.status === 404 ? "gone" : undefined;
  }
}

/** The stack's account, with the same token that the provider uses; undefined without a token. */
export function accountOf(state: State): Account | undefined {
  const [provider] = state.all("pulumi:providers:digitalocean");
  const token =
    (provider?.inputs["token"] as string | undefined) ??
    process.env["DIGITALOCEAN_TOKEN"] ??
    process.env["DIGITALOCEAN_ACCESS_TOKEN"];
  return token === undefined ? undefined : new Account(token);
}

export const NO_TOKEN = "the cloud cannot be asked: there is no token. Set DIGITALOCEAN_TOKEN, or digitalocean:token";

/**
 * The cloud's answer; undefined if the thing that it was asked about does not exist.
 *
 * @throws Error if the cloud cannot be asked
 */
export async function orNothing<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof RefusedError && error.status === 404) return undefined;
    throw new Error(`the cloud cannot be asked: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}
