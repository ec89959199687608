import { availableParallelism } from "node:os";

import { execa } from "execa";

/** What can be said of the sources without running anything outside this process: `npm run check`. */
const CHECKS = [
  "eslint --cache --cache-location node_modules/.cache/eslint .",
  "vitest run --project unit",
  "tsc -p . --incremental --tsBuildInfoFile node_modules/.cache/tsconfig.tsbuildinfo",
  "prettier --check --cache --log-level warn .",
  "shellcheck -x machine/*.sh .github/scripts/*.sh sandbox/bootstrap .ci/run",
];

/** Runs one check and tells how it went; what it printed only where it failed. */
async function check(command: string): Promise<boolean> {
  const started = Date.now();
  const { exitCode, all } = await execa(command, { shell: true, preferLocal: true, all: true, reject: false });
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  const [name = ""] = command.split(" ");
  process.stdout.write(`${exitCode === 0 ? "ok    " : "failed"}  ${name} (${seconds} s)\n`);
  if (exitCode !== 0) process.stdout.write(`${all}\n`);
  return exitCode === 0;
}

const waiting = [...CHECKS];
const results: boolean[] = [];
const worker = async () => {
  for (let command = waiting.shift(); command !== undefined; command = waiting.shift()) {
    results.push(await check(command));
  }
};
await Promise.all(Array.from({ length: availableParallelism() }, worker));
process.exitCode = results.every(Boolean) ? 0 : 1;
