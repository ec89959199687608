import { Account, RefusedError } from "../digitalocean/account.ts";
import type { Target } from "../ssh/connect.ts";
import type { Resource, State } from "./state.ts";
import { RESOURCES, TYPES } from "../contract/names.ts";

const DROPLET = [TYPES.droplet, RESOURCES.droplet] as const;

/** Undefined where the stack was not deployed that far. */
export function findDroplet(state: State): Resource | undefined {
  return state.find(...DROPLET);
}

/**
 * The way to a stack's droplet, which there is as soon as the droplet is: where the first `up` failed half-way, too.
 *
 * @throws Error when the stack has none
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
 * What DigitalOcean says of a stack's droplet: `active`, `off`, `new`, `archive`, or `gone` where it has none of its id.
 * Undefined where the stack has no droplet, or DigitalOcean cannot be asked.
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

/** The account that a stack is in, by the token that the provider takes, too; undefined without any. */
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
 * What a look at the cloud gives; nothing where that of which it asks is gone.
 *
 * @throws Error when the cloud cannot be asked
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
