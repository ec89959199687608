import type { Plugin } from "../framework/definition.ts";
import { copyToRemote } from "./copy-to-remote.ts";
import { remoteCommand } from "./remote-command.ts";

/** Stand-in for the plugin `command`: commands and files on other computers, over SSH. */
export const command: Plugin<undefined> = {
  name: "command",
  kind: "native",
  config: {},
  configure: () => undefined,
  resources: {
    "command:remote:Command": remoteCommand,
    "command:remote:CopyToRemote": copyToRemote,
  },
};
