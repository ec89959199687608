import { unsupported } from "../framework/definition.ts";
import type { Plugin } from "../framework/definition.ts";
import { privateKey } from "./private-key.ts";

/** Stand-in for the plugin `tls`: keys that are made once and kept. */
export const tls: Plugin<undefined> = {
  name: "tls",
  kind: "framework",
  config: unsupported("proxy"),
  configure: () => undefined,
  resources: { "tls:index/privateKey:PrivateKey": privateKey },
};
