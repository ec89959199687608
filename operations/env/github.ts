import { randomUUID } from "node:crypto";
import { appendFile } from "node:fs/promises";

import { workflowCommand } from "../workflow-command.ts";

/**
 * Sets variables for the later steps of a GitHub Actions job. First it masks the secrets in all of the job's logs, with a
 * command that the runner reads and does not print.
 *
 * @param secrets  the values that no log may show
 * @param file    path of the file that the runner reads, `GITHUB_ENV`
 */
export async function writeGithubEnvironment(
  variables: Record<string, string>,
  secrets: string[],
  file: string,
): Promise<void> {
  for (const secret of secrets) process.stdout.write(`${workflowCommand("add-mask", secret)}\n`);
  await appendFile(
    file,
    Object.entries(variables)
      .map(([name, value]) => assignment(name, value))
      .join(""),
  );
}

/** The form for values of several lines. The delimiter is random, so no value can contain it. */
function assignment(name: string, value: string): string {
  const end = `end-${randomUUID()}`;
  return `${name}<<${end}\n${value}\n${end}\n`;
}
