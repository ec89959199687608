import { TYPES } from "../../../contract/names.ts";
import { accountOf, NO_TOKEN } from "../../droplet.ts";
import type { State } from "../../state.ts";
import { type Finding, findingsBy, undeclared } from "../finding.ts";

/** A key for Spaces, as the API lists it. */
interface SpacesKey {
  name: string;
  access_key: string;
  created_at: string;
}

/**
 * Finds keys for Spaces that have the name of one of the stack's, but are in no state: a run was killed while creating them. Their
 * names are not unique, so DigitalOcean does not refuse the next one, and the program cannot tell them from another program's.
 *
 * @throws Error if the cloud cannot be asked
 */
export async function compareSpacesKeys(state: State): Promise<Finding[]> {
  const own = state.all(TYPES.spacesKey).map(({ id, inputs }) => ({ id, name: String(inputs["name"]) }));
  if (own.length === 0) return [];
  const account = accountOf(state);
  if (account === undefined) throw new Error(NO_TOKEN);
  return lostKeys(own, await account.list<SpacesKey>("/v2/spaces/keys", "keys"));
}

/** Pure. */
export function lostKeys(own: { id: string; name: string }[], found: SpacesKey[]): Finding[] {
  const { warning } = findingsBy("DigitalOcean", "cloud");
  return found
    .filter((key) => own.some(({ name }) => name === key.name) && own.every(({ id }) => id !== key.access_key))
    .map((key) => {
      const message = `${key.access_key} of ${key.created_at} has the name of the stack's key ${key.name}, but is in no state`;
      const why =
        "a run was probably killed while creating it; nobody has its secret then, so delete it, unless something else uses it: " +
        `doctl spaces keys delete ${key.access_key}`;
      return warning(["cloud.spaces-keys", key.access_key], undeclared(message, key.name), { why });
    });
}
