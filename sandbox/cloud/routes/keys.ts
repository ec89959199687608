import type { FastifyInstance } from "fastify";
import sshpk from "sshpk";

import type { Cloud } from "../cloud.ts";
import { unprocessable } from "../errors.ts";
import { findKey, recordedKey } from "../lookups.ts";
import type { CloudState, KeyRecord } from "../records.ts";
import { Fields } from "./fields.ts";
import { paginate } from "./pagination.ts";

interface Identifier {
  Params: { key: string };
}

export function keyRoutes(api: FastifyInstance, { store }: Cloud): void {
  api.get("/v2/account/keys", (request) => paginate(request, "ssh_keys", store.state.keys));

  api.post("/v2/account/keys", async (request, reply) => {
    const body = new Fields(request.body);
    const key = await store.change((draft) => addKey(draft, body.text("name"), body.text("public_key").trim()));
    void reply.code(201);
    return { ssh_key: key };
  });

  api.get<Identifier>("/v2/account/keys/:key", (request) => ({
    ssh_key: recordedKey(store.state, request.params.key),
  }));

  api.put<Identifier>("/v2/account/keys/:key", async (request) => {
    const name = new Fields(request.body).text("name");
    return store.change((draft) => {
      const key = recordedKey(draft, request.params.key);
      key.name = name;
      return { ssh_key: key };
    });
  });

  api.delete<Identifier>("/v2/account/keys/:key", async (request, reply) => {
    await store.change((draft) => {
      const { id } = recordedKey(draft, request.params.key);
      draft.keys = draft.keys.filter((key) => key.id !== id);
    });
    return reply.code(204).send();
  });
}

function addKey(draft: CloudState, name: string, publicKey: string): KeyRecord {
  if (name === "") throw unprocessable("Name can't be blank");
  const fingerprint = fingerprintOf(publicKey);
  if (findKey(draft, fingerprint)) throw unprocessable("SSH Key is already in use on your account");
  const key = { id: draft.next.key++, name, fingerprint, public_key: publicKey };
  draft.keys.push(key);
  return key;
}

function fingerprintOf(publicKey: string): string {
  try {
    return sshpk.parseKey(publicKey, "ssh").fingerprint("md5").toString("hex");
  } catch {
    throw unprocessable("Key invalid, key should be of the format `ssh-rsa AAAA...`");
  }
}
