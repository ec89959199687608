import path from "node:path";

import { quote } from "../../contract/scripts.ts";
import { findForCli } from "../../examples/app-repo/scripts/target/checks.ts";
import { CONVEX_CLI, find, MODES, readerOf } from "../../examples/app-repo/scripts/target/environment.ts";
import { removal } from "../../examples/app-repo/scripts/target/mistake.ts";

/** Variables that were written to a file, but that another place overrides or nothing reads. */
export interface Losses {
  /** The Convex CLI would call another backend. */
  severe: string[];
  /** The app would call another backend, or not find its own. This may be intended, for a build for another stack. */
  told: string[];
}

/**
 * Finds the variables of a file that another place overrides, or that nothing reads from it.
 *
 * @param file   absolute path of the file that was just written
 * @param write  gives the command that writes another file instead
 */
export function findLosses(file: string, variables: Record<string, string>, write: (file: string) => string): Losses {
  const own = Object.entries(variables);
  return {
    severe: own.flatMap(([name, value]) => (isForCli(name) ? lossForCli(file, name, value, write) : [])),
    told: [
      ...(isReadByCli(file)
        ? []
        : [`The Convex CLI reads ${file} only with an option: npx convex deploy --env-file ${quote(file)}`]),
      ...own.flatMap(([name, value]) => (isForCli(name) ? [] : lossForApp(file, name, value))),
    ],
  };
}

const isForCli = (name: string) => name.startsWith("CONVEX_SELF_HOSTED_");
const isReadByCli = (file: string) => CONVEX_CLI.files.includes(path.basename(file));

function lossForCli(file: string, name: string, value: string, write: (file: string) => string): string[] {
  const found = isReadByCli(file) ? findForCli(path.dirname(file), name, process.env) : undefined;
  if (found === undefined || found.value === value) return [];
  const cure = found.file === undefined ? removal(name, found) : `Run: ${write(found.file)}`;
  return [`${found.place}: sets ${name}, it should not, because it wins over ${file}. ${cure}`];
}

function lossForApp(file: string, name: string, value: string): string[] {
  const read = MODES.filter((mode) => readerOf(name, mode).files.includes(path.basename(file)));
  if (read.length === 0 && isReadByCli(file)) {
    const files = [...new Set(MODES.flatMap((mode) => readerOf(name, mode).files))].join(" and ");
    return [`${file}: is not read for ${name}, the framework reads only ${files}. Write there: ${name}=${value}`];
  }
  return read.flatMap((mode) => {
    const found = find(path.dirname(file), name, readerOf(name, mode), process.env);
    if (found === undefined || found.value === value) return [];
    const cure =
      found.file === undefined ? removal(name, found) : `If it should be this stack's, write there: ${name}=${value}`;
    return [`${found.place}: sets ${name}, which wins over ${file} in ${mode}. ${cure}`];
  });
}
