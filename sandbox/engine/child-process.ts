import type { ChildProcess } from "node:child_process";

/** How long a process may take to end after an interrupt; the official language host grants as much. */
const GRACE_MILLISECONDS = 5000;

/**
 * Waits until a process has ended and its output is read. Aborting `signal` interrupts it, and kills it when it has not
 * ended five seconds later.
 *
 * @returns The exit code; -1 when a signal ended the process.
 * @throws when the process could not be started.
 */
export async function untilEnd(child: ChildProcess, signal: AbortSignal): Promise<number> {
  let killTimer: NodeJS.Timeout | undefined;
  const interrupt = () => {
    child.kill("SIGINT");
    killTimer = setTimeout(() => child.kill("SIGKILL"), GRACE_MILLISECONDS);
  };
  signal.addEventListener("abort", interrupt, { once: true });
  if (signal.aborted) interrupt();
  try {
    return await new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => {
        resolve(code ?? -1);
      });
    });
  } finally {
    clearTimeout(killTimer);
    signal.removeEventListener("abort", interrupt);
  }
}
