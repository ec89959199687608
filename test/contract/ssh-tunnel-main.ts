// A run with a tunnel: SSH port, socket, port and far end in the arguments, the keys on stdin. Prints when it listens, and
// why the machine cannot be reached; then waits until stdin ends.
import { json } from "node:stream/consumers";

import { openTunnel } from "../../ssh/tunnel.ts";

const [sshPort = "", socket = "", port = "", far = "", life = "ends"] = process.argv.slice(2);
const keys = (await json(process.stdin)) as { privateKey: string; hostKey: string };
const target = Promise.resolve({ ...keys, host: "127.0.0.1", port: Number(sshPort) });
await openTunnel(
  target,
  [
    { from: { socket }, to: far },
    { from: { port: Number(port) }, to: far },
  ],
  (reason) => {
    console.log(`told: ${reason}`);
  },
);
console.log("open");
if (life === "stays") setInterval(() => undefined, 60_000);
