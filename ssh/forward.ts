import { once } from "node:events";
import net, { type AddressInfo } from "node:net";
import { pipeline } from "node:stream";

import { dial, type Target } from "./connect.ts";

/**
 * Does something that needs a port of a machine's loopback, which is a port of this computer meanwhile. What answers there is that
 * machine, because the connection pins its host key.
 *
 * @param work  gets the port's URL on this computer
 * @throws UnreachableError if the machine cannot be reached, or has another host key
 */
export async function forwarded<Result>(
  target: Target,
  port: number,
  work: (origin: string) => Promise<Result>,
): Promise<Result> {
  const client = await dial(target);
  const server = net.createServer({ allowHalfOpen: true }, (near) => {
    near.on("error", () => near.destroy());
    try {
      client.forwardOut("127.0.0.1", 0, "127.0.0.1", port, (error, far) => {
        if (error !== undefined) {
          near.destroy();
          return;
        }
        pipeline(near, far, () => undefined);
        pipeline(far, near, () => undefined);
      });
    } catch {
      // The connection to the machine has broken.
      near.destroy();
    }
  });
  try {
    await once(server.listen(0, "127.0.0.1"), "listening");
    return await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.close();
    client.end();
  }
}
