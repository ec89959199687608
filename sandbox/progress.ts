import { styleText } from "node:util";

/** Says what a step is doing now; silence would look like a hang. */
export type Progress = (text: string) => void;

/** How long a step may stay silent before it is said that it still goes on. */
const HEARTBEAT_MS = 10_000;

/**
 * Runs one step of a longer job and tells a person about it, on stderr, a line at a time so that a log reads well too:
 * what begins, what it says meanwhile, that it still runs where it says nothing, and how long it took.
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
    if (Date.now() - told >= HEARTBEAT_MS) tell(last === "" ? "still at it" : last);
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
