import type { Plugin } from "../framework/definition.ts";
import { randomPassword } from "./password.ts";

/** Stand-in for the plugin `random`: values that are drawn once and kept. */
export const random: Plugin<undefined> = {
  name: "random",
  kind: "framework",
  config: {},
  configure: () => undefined,
  resources: { "random:index/randomPassword:RandomPassword": randomPassword },
};
