import type { Plugin } from "../framework/definition.ts";
import { randomPassword } from "./password.ts";
import { randomUuid } from "./uuid.ts";

/** Stand-in for the plugin `random`: random values that are made once and kept. */
export const random: Plugin<undefined> = {
  name: "random",
  kind: "framework",
  config: {},
  configure: () => undefined,
  resources: {
    "random:index/randomPassword:RandomPassword": randomPassword,
    "random:index/randomUuid:RandomUuid": randomUuid,
  },
};
