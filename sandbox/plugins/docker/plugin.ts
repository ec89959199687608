import { unsupported, type Plugin } from "../framework/definition.ts";
import { type Clock, systemClock } from "../framework/state-change.ts";
import { container } from "./container.ts";
import { type Client, Daemon } from "./daemon.ts";
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
      ...unsupported(
        "caMaterial",
        "certMaterial",
        "certPath",
        "context",
        "disableDockerDaemonCheck",
        "keyMaterial",
        "registryAuth",
        "sshOpts",
      ),
    },
    configure: async ({ host }) => ({ daemon: await Daemon.find(host as string | undefined), clock }),
    resources: {
      "docker:index/container:Container": container,
      "docker:index/network:Network": network,
      "docker:index/remoteImage:RemoteImage": remoteImage,
    },
  };
}
