import { finished } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type Docker from "dockerode";
import { SANDBOX_LABEL, type SandboxHome } from "../home.ts";

const RECONNECT_MILLISECONDS = 1000;

/**
 * Calls `onEnd` each time a droplet's container ends, and at the start of each connection to the Docker engine, for
 * containers that ended without a connection. Runs until disposed. If the engine restarts or a call fails, it connects
 * again.
 */
export function watchContainers(docker: Docker, home: SandboxHome, onEnd: () => Promise<void>): AsyncDisposable {
  const stop = new AbortController();
  const watching = (async () => {
    while (!stop.signal.aborted) {
      await followEvents(docker, home, onEnd, stop.signal).catch((error: unknown) => {
        if (!stop.signal.aborted) console.error("droplets:", error);
      });
      await sleep(RECONNECT_MILLISECONDS, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  })();
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await watching;
    },
  };
}

async function followEvents(docker: Docker, home: SandboxHome, onEnd: () => Promise<void>, signal: AbortSignal) {
  const connection = new AbortController();
  const options: Docker.GetEventsOptions & { abortSignal: AbortSignal } = {
    filters: { event: ["die"], label: [`${SANDBOX_LABEL}=${home.id}`] },
    abortSignal: AbortSignal.any([signal, connection.signal]),
  };
  const events = await docker.getEvents(options);
  try {
    await onEnd();
    await new Promise<void>((resolve, reject) => {
      events.on("data", () => {
        onEnd().catch(reject);
      });
      finished(events).then(resolve, reject);
    });
  } finally {
    connection.abort();
  }
}
