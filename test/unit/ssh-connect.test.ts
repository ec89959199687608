import net from "node:net";

import { utils } from "ssh2";
import { expect, it } from "vitest";

import { dial } from "../../ssh/connect.ts";
import { dialPinned } from "../../ssh/pinned.ts";

const { private: privateKey } = utils.generateKeyPairSync("ed25519");

/** A machine that goes down during the handshake. */
async function goingDown(): Promise<net.Server & { port: number }> {
  const server = net.createServer((socket) => socket.end("SSH-2.0-OpenSSH_10.0\r\n"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return Object.assign(server, { port: (server.address() as net.AddressInfo).port });
}

it.each([
  ["the droplet", (port: number) => dial({ host: "127.0.0.1", port, privateKey, hostKey: "" })],
  [
    "the old machine",
    (port: number) =>
      dialPinned({ host: "127.0.0.1", port, user: "root", fingerprint: "", privateKey: Buffer.from(privateKey) }),
  ],
])("a connection to %s that is closed during the handshake is an error", async (_, connect) => {
  const server = await goingDown();
  await expect(connect(server.port)).rejects.toThrow("cannot be reached over SSH (the connection was closed)");
  server.close();
});
