import { unsupported, type Plugin } from "../framework/definition.ts";
import { type Clock, systemClock } from "../framework/state-change.ts";
import { container } from "./container.ts";
import { type Client, type Credentials, Daemon } from "./daemon.ts";
import { network } from "./network.ts";
import { remoteImage } from "./remote-image.ts";

/**
 * Stand-in for the plugin `docker`; it connects over a Unix socket.
 *
 * @param clock measures the waits
 */
export function docker(clock: Clock = systemClock): Plugin<Client> {
  return {
    name: "docker",
    kind: "bridged",
    config: {
      host: { type: "string", env: ["DOCKER_HOST"] },
      registryAuth: {
        type: "list",
        items: {
          type: "object",
          properties: {
            address: { type: "string", required: true },
            username: { type: "string" },
            password: { type: "string", secret: true },
            ...unsupported("authDisabled", "configFile", "configFileContent"),
          },
        },
      },
      ...unsupported(
        "caMaterial",
        "certMaterial",
        "certPath",
        "context",
        "disableDockerDaemonCheck",
        "keyMaterial",
        "sshOpts",
      ),
    },
    configure: async ({ host, registryAuth }) => ({
      daemon: await Daemon.find(host as string | undefined),
      credentials: (registryAuth ?? []) as unknown as Credentials[],
      clock,
    }),
    resources: {
      "docker:index/container:Container": container,
      "docker:index/network:Network": network,
      "docker:index/remoteImage:RemoteImage": remoteImage,
    },
  };
}
