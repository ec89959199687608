import { findMistakes } from "./target/checks.ts";

// Checks, before `convex deploy`, for mistakes that would deploy elsewhere or fail half-way. Prints all mistakes at once.

const mistakes = findMistakes(".", process.env, {
  write: (file) => `Write ${file} with \`npm run env\` of convex-droplet, or set it in the environment.`,
  lookAt: (folders) => `Deploy from where they are: ${folders.join(", ")}`,
});
for (const { what, fix } of mistakes) process.stderr.write(`${what}. ${fix}\n`);
if (mistakes.length > 0) process.exitCode = 1;
