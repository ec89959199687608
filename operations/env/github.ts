import { randomUUID } from "node:crypto";
import { appendFile } from "node:fs/promises";

import { workflowCommand } from "../workflow-command.ts";

/**
 * Sets variables for the later steps of a GitHub Actions job. The secret is masked in all of the job's logs first: the line
 * that does this is a command to the runner, which does not show it.
 *
 * @param secret  the value among them that no log may show
 * @param file    path of the file the runner reads them from, `GITHUB_ENV`
 */
export async function writeGithubEnvironment(
  variables: Record<string, string>,
  secret: string,
  file: string,
): Promise<void> {
  process.stdout.write(`${workflowCommand("add-mask", secret)}\n`);
  await appendFile(
    file,
    Object.entries(variables)
      .map(([name, value]) => assignment(name, value))
      .join(""),
  );
}

/** The form for values of several lines; no value can hold an end that it does not know. */
function assignment(name: string, value: string): string {
  const end = `end-${randomUUID()}`;
  return `${name}<<${end}\n${value}\n${end}\n`;
}
