import { styleText } from "node:util";

/** Reports what a step is doing now, because silence looks like a hang. */
export type Progress = (text: string) => void;

/** After this silence, a step is reported as still running. */
const HEARTBEAT_MS = 10_000;

/**
 * Runs one step of a longer job and reports it on stderr, in whole lines so that logs are readable too: its start, its
 * progress, that it still runs if it reports nothing, and how long it took.
 */
export async function step<T>(title: string, work: (progress: Progress) => Promise<T>): Promise<T> {
  const started = Date.now();
  const seconds = () => Math.round((Date.now() - started) / 1000);
  let last = "";
  let told = started;
  const tell = (text: string) => {
    if (text === last && Date.now() - told < HEARTBEAT_MS) return;
    last = text;
    told = Date.now();
    process.stderr.write(`  ${styleText("dim", `${title}: ${text} (${seconds()} s)`)}\n`);
  };
  const heartbeat = setInterval(() => {
    if (Date.now() - told >= HEARTBEAT_MS) tell(last === "" ? "still running" : last);
  }, 1000);
  process.stderr.write(`${title} ...\n`);
  try {
    const result = await work(tell);
    if (seconds() >= 2) process.stderr.write(`${title}: done in ${seconds()} s\n`);
    return result;
  } finally {
    clearInterval(heartbeat);
  }
}
