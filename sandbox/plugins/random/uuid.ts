import { randomUUID } from "node:crypto";

import { resource } from "../framework/definition.ts";

/** A random identifier, made with the resource; a change of the keepers makes a new one. */
export const randomUuid = resource<undefined>()({
  inputs: { keepers: { type: "map", items: { type: "string" }, replaces: true } },
  outputs: { result: { type: "string" } },
  create: () => {
    const id = randomUUID();
    return Promise.resolve({ id, outputs: { result: id } });
  },
});
