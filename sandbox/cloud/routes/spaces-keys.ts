import { randomBytes } from "node:crypto";

import type { FastifyInstance } from "fastify";

import type { Grant } from "../../spaces/grants.ts";
import type { Cloud } from "../cloud.ts";
import { badRequest } from "../errors.ts";
import { recordedSpacesKey } from "../lookups.ts";
import type { SpacesKeyRecord } from "../records.ts";
import { timestamp } from "../time.ts";
import { Fields } from "./fields.ts";
import { paginate, queryParameter } from "./pagination.ts";

interface Identifier {
  Params: { key: string };
}

const PERMISSIONS = ["read", "readwrite", "fullaccess"] as const;
const PATH = "/v2/spaces/keys/:key";

/** Keys for Spaces. Each answer comes when the change is in force. Only the answer to a create has the secret. */
export function spacesKeyRoutes(api: FastifyInstance, { store, applySpacesKeys }: Cloud): void {
  api.get("/v2/spaces/keys", (request) => {
    const [name, bucket, permission] = ["name", "bucket", "permission"].map((filter) =>
      queryParameter(request, filter),
    );
    const keys = store.state.spaces_keys.filter(
      (key) =>
        (name === undefined || key.name === name) &&
        (bucket === undefined || key.grants.some((grant) => grant.bucket === bucket)) &&
        (permission === undefined || key.grants.some((grant) => grant.permission === permission)),
    );
    // Creation times are in seconds; the records are in the order of creation.
    const byName = queryParameter(request, "sort") === "name";
    const sorted = byName ? keys.toSorted((one, other) => one.name.localeCompare(other.name)) : keys;
    const isAscending = queryParameter(request, "sort_direction") === "asc";
    return paginate(request, "keys", (isAscending ? sorted : sorted.toReversed()).map(view));
  });

  api.post("/v2/spaces/keys", async (request, reply) => {
    const body = new Fields(request.body);
    const key: SpacesKeyRecord = {
      name: readName(body),
      access_key: `DO00${randomText(/[^A-Z0-9]/g, 16)}`,
      secret_key: randomText(/[^A-Za-z0-9+/]/g, 43),
      grants: readGrants(body),
      created_at: timestamp(),
    };
    await store.change((draft) => draft.spaces_keys.push(key));
    await applySpacesKeys();
    void reply.code(201);
    return { key };
  });

  api.get<Identifier>(PATH, (request) => ({ key: view(recordedSpacesKey(store.state, request.params.key)) }));

  api.put<Identifier>(PATH, (request) => {
    const body = new Fields(request.body);
    return change(request.params.key, { name: readName(body), grants: readGrants(body) });
  });

  api.patch<Identifier>(PATH, (request) => {
    const body = new Fields(request.body);
    return change(request.params.key, {
      ...(body.has("name") && { name: readName(body) }),
      ...(body.has("grants") && { grants: readGrants(body) }),
    });
  });

  api.delete<Identifier>(PATH, async (request, reply) => {
    await store.change((draft) => {
      const key = recordedSpacesKey(draft, request.params.key);
      draft.spaces_keys = draft.spaces_keys.filter((other) => other !== key);
    });
    await applySpacesKeys();
    return reply.code(204).send();
  });

  async function change(id: string, changes: Partial<SpacesKeyRecord>) {
    const key = await store.change((draft) => Object.assign(recordedSpacesKey(draft, id), changes));
    await applySpacesKeys();
    return { key: view(key) };
  }
}

function view({ secret_key: _secret, ...key }: SpacesKeyRecord) {
  return key;
}

function readName(body: Fields): string {
  const name = body.optionalText("name") ?? "";
  if (name === "") throw badRequest("name is required");
  return name;
}

function readGrants(body: Fields): Grant[] {
  const grants = body.objects("grants").map((grant) => {
    const given = grant.optionalText("permission") ?? "";
    const permission = PERMISSIONS.find((known) => known === given);
    if (!permission) throw badRequest(`invalid permission: ${given}`);
    const bucket = grant.optionalText("bucket") ?? "";
    if ((bucket === "") !== (permission === "fullaccess")) {
      throw badRequest(bucket === "" ? "bucket is required" : "a fullaccess grant applies to all buckets");
    }
    return { bucket, permission };
  });
  const full = grants.filter(({ permission }) => permission === "fullaccess");
  if (full.length > 0 && grants.length > 1) throw badRequest("fullaccess cannot be mixed with scoped permissions");
  return grants;
}

function randomText(others: RegExp, length: number): string {
  let text = "";
  while (text.length < length) text += randomBytes(64).toString("base64").replace(others, "");
  return text.slice(0, length);
}
