const LEVELS = ["error", "warn", "info", "debug", "trace"] as const;
type Level = (typeof LEVELS)[number];

/**
 * The process's log, on standard error. `RUST_LOG` sets the level (its bare directive, default `info`), `LOG_FORMAT=json`
 * the form.
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

/** Directives for single targets (`hyper=debug`) are the real program's own affair. */
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
