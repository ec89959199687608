import { availableParallelism } from "node:os";

import { execa } from "execa";

import { prepareChecks } from "../sandbox/prerequisites.ts";

const SCRIPTS = "machine/*.sh machine/*/*.sh operations/*/*.sh .github/scripts/*.sh bin/bootstrap .ci/run";

/** The checks of `npm run check`: they need no Docker and no cloud. With `-- static`, all but the unit tests, which `npm test` runs, too. */
const CHECKS = [
  ...(process.argv.includes("static") ? [] : ["vitest run --project unit"]),
  `shellcheck -x ${SCRIPTS}`,
  // Also checks the types, because its type-aware linter includes the compiler.
  "oxlint --type-aware --type-check --report-unused-disable-directives",
  "oxfmt --check",
  `prettier --check --log-level warn ${SCRIPTS}`,
];

/** Runs one check and prints its result; its output only if it failed. */
async function check(command: string): Promise<boolean> {
  const started = Date.now();
  const { exitCode, all } = await execa(command, { shell: true, preferLocal: true, all: true, reject: false });
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  const [name = ""] = command.split(" ");
  process.stdout.write(`${exitCode === 0 ? "ok    " : "failed"}  ${name} (${seconds} s)\n`);
  if (exitCode !== 0) process.stdout.write(`${all}\n`);
  return exitCode === 0;
}

await prepareChecks((text) => process.stderr.write(`${text}\n`));
const waiting = [...CHECKS];
const results: boolean[] = [];
const worker = async () => {
  for (let command = waiting.shift(); command !== undefined; command = waiting.shift()) {
    results.push(await check(command));
  }
};
await Promise.all(Array.from({ length: availableParallelism() }, worker));
process.exitCode = results.every(Boolean) ? 0 : 1;
