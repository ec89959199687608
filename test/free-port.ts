import { once } from "node:events";
import { createServer } from "node:net";

let given = 0;

/** The two workers of a run never have the same ports; processes of other runs seldom. */
const BLOCK = (process.pid % 22) * 2 + (Number(process.env["VITEST_POOL_ID"] ?? 0) % 2);

/**
 * A free loopback port for a test's own server. It is above the ports of outgoing connections, and each process has its own
 * hundred ports, so that nothing else uses it between this check and the server's start.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 61_000 + BLOCK * 100 + (given++ % 100);
    const server = createServer().listen(port, "127.0.0.1");
    const isFree = await Promise.race([
      once(server, "listening").then(() => true),
      once(server, "error").then(() => false),
    ]);
    if (!isFree) continue;
    server.close();
    await once(server, "close");
    return port;
  }
}
