import { once } from "node:events";
import { createServer } from "node:net";

let given = 0;

/**
 * A port of loopback that nothing listens on, for a server of this test's own. It lies above those of outgoing connections, and
 * each process has a hundred of its own, so that nobody takes it between this look and the server's start.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 61_000 + (process.pid % 45) * 100 + (given++ % 100);
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
