const LEVELS = ["error", "warn", "info", "debug", "trace"] as const;
type Level = (typeof LEVELS)[number];

/**
 * The process's log, on standard error. `RUST_LOG` sets the level (only its directive without a target; `info` by
 * default), `LOG_FORMAT=json` the format.
 */
export const log = {
  error: (message: string) => {
    write("error", message);
  },
  warn: (message: string) => {
    write("warn", message);
  },
  info: (message: string) => {
    write("info", message);
  },
  debug: (message: string) => {
    write("debug", message);
  },
};

const threshold = LEVELS.indexOf(levelOf(process.env["RUST_LOG"] ?? ""));
const asJson = process.env["LOG_FORMAT"] === "json";

/** Ignores directives for single targets (`hyper=debug`), which only exist in the real program. */
function levelOf(rustLog: string): Level {
  const bare = rustLog.toLowerCase().split(",");
  return LEVELS.find((level) => bare.includes(level)) ?? "info";
}

function write(level: Level, message: string): void {
  if (LEVELS.indexOf(level) > threshold) return;
  const timestamp = new Date().toISOString();
  const line = asJson
    ? JSON.stringify({ timestamp, level: level.toUpperCase(), message })
    : `${timestamp} ${level.toUpperCase().padStart(5)} convex-local-backend: ${message}`;
  process.stderr.write(`${line}\n`);
}
