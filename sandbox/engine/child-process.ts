import type { ChildProcess } from "node:child_process";

/** The time in which a process must end after an interrupt, as in the official language host. */
const GRACE_MILLISECONDS = 5000;

/**
 * Waits until a process has ended and its output is read. If `signal` aborts, interrupts the process, and kills it if it
 * has not ended five seconds later.
 *
 * @returns the exit code; -1 if a signal ended the process
 * @throws Error if the process could not be started
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
