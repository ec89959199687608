import net from "node:net";

import type * as pulumi from "@pulumi/pulumi";
import { AgentProtocol } from "ssh2";

import { serve, socketFor } from "./near-end.ts";

/**
 * Opens an SSH agent without keys until the run ends, and returns the path of its socket.
 *
 * The command provider connects to the agent in `SSH_AUTH_SOCK` even if it has a key, and fails if the agent is gone: in a
 * terminal multiplexer that outlived its login, under sudo, in CI (pulumi-command, remote/connection.go). The stack has its own
 * key and needs no other.
 *
 * @param hostKey  the machine's; the socket's path derives from it, so that it is the same on every computer
 */
export function openEmptyAgent(hostKey: pulumi.Output<string>): pulumi.Output<string> {
  return hostKey.apply(async (key) => {
    const socket = socketFor(key, "no-agent.sock");
    await serve([{ at: { socket }, server: net.createServer(answer) }]);
    return socket;
  });
}

function answer(client: net.Socket): void {
  const protocol = new AgentProtocol(false);
  protocol.on("identities", (request) => {
    protocol.getIdentitiesReply(request, []);
  });
  protocol.on("sign", (request) => {
    protocol.failureReply(request);
  });
  client.on("error", () => client.destroy());
  client.pipe(protocol).pipe(client);
}
