import net from "node:net";

import type * as pulumi from "@pulumi/pulumi";
import { AgentProtocol } from "ssh2";

import { serve, socketFor } from "./near-end.ts";

/**
 * Opens, for as long as the run lasts, an SSH agent that holds no keys, and gives back its socket's path.
 *
 * The command provider connects to the agent that `SSH_AUTH_SOCK` names whatever key it is given, and fails where none is
 * there: in a terminal multiplexer that outlived its login, under sudo, in CI (pulumi-command, remote/connection.go). The
 * stack has a key of its own and wants nobody else's.
 *
 * @param hostKey  of the machine; names the socket, so that it is the same on every computer
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
