import { readFile, stat } from "node:fs/promises";
import path from "node:path";
import { parseArgs } from "node:util";

import { parse } from "dotenv";

import { quote } from "../../contract/scripts.ts";
import { requireStack, UsageError } from "../arguments.ts";
import { databaseVariables } from "../databases.ts";
import { outputsOf } from "../outputs.ts";
import { State } from "../state.ts";
import { writeEnvironmentFile, type Written } from "./file.ts";
import { detectFramework, FRAMEWORKS, type Manifest } from "./frameworks.ts";
import { writeGithubEnvironment } from "./github.ts";
import { isLoopback, refuseLoopback } from "./loopback.ts";
import { findLosses } from "./losses.ts";
import { refuseRivals } from "./rivals.ts";
import { npmCommand } from "../typed.ts";

const HELP = `Usage: ${npmCommand("STACK", "env", "[--file PATH] [--framework NAME] [--prefix PREFIX] [--database NAME]")}
       ${npmCommand("STACK", "env", "--ci github [--tunnel] [--framework NAME] [--prefix PREFIX] [--database NAME]")}

Gives an app the URLs and the admin key of a stack: CONVEX_SELF_HOSTED_URL and CONVEX_SELF_HOSTED_ADMIN_KEY for the Convex
CLI, and the URLs of API and HTTP actions under the names that the app's framework passes to browsers.

  --file PATH       environment file or folder of the app; default: the file that its framework reads, in the folder that
                    you called npm from. The rest of the file does not change.
  --framework NAME  ${Object.keys(FRAMEWORKS).join(", ")};
                    default: the one in the app's package.json
  --prefix PREFIX   the prefix of variables that browsers may see, such as PUBLIC_, if the framework is none of these or
                    uses another prefix
  --database NAME   also DATABASE_URL, and SHADOW_DATABASE_URL if it has a shadow, for tools on this computer: they work while
                    the stack's tunnel is open
  --ci github       writes no file: sets the variables for later steps of the job, and masks key and passwords in its logs
  --tunnel          with --ci: the job opens the stack's tunnel, so URLs that lead to the runner itself work

Exit code: 0 the variables are set; 1 not set, or the Convex CLI reads others: the error says from where.
`;

/**
 * The command `env`: writes an app's environment file, or a CI job's.
 *
 * @returns the process's exit code
 * @throws Error with the problem and its fix; no message contains the key
 */
export async function writeEnvironment(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      stack: { type: "string", short: "s" },
      file: { type: "string" },
      framework: { type: "string" },
      prefix: { type: "string" },
      database: { type: "string" },
      ci: { type: "string" },
      tunnel: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const stack = requireStack("env", values.stack);
  if (values.ci !== undefined && (values.ci !== "github" || values.file !== undefined)) {
    throw new UsageError("env: --ci should be github, without --file.");
  }
  const outputs = outputsOf(await State.read(stack));
  const app = await findApp(values.file);
  const framework = values.framework ?? app.framework;
  const { file, ...usual } = FRAMEWORKS[framework] ?? refuseFramework(framework);
  const prefix = values.prefix === undefined ? usual.prefix : checkedPrefix(values.prefix);
  const publicUrls = { [`${prefix}CONVEX_URL`]: outputs.backendUrl, [`${prefix}CONVEX_SITE_URL`]: outputs.siteUrl };
  const ofDatabase = values.database === undefined ? {} : databaseVariables(outputs, values.database);
  const variables = {
    CONVEX_SELF_HOSTED_URL: outputs.backendUrl,
    CONVEX_SELF_HOSTED_ADMIN_KEY: outputs.adminKey,
    ...publicUrls,
  };
  const again = (...options: string[]) => {
    const same = (["framework", "prefix", "database"] as const).flatMap((name) => {
      const value = values[name];
      return value === undefined ? [] : [`--${name}`, value];
    });
    return npmCommand(stack, "env", ...[...options, ...same].map(quote));
  };
  let place = ["--ci", "github"];
  if (values.ci === undefined) {
    if (values.file === undefined && app.folder === PROJECT) {
      throw new Error(`env: this is not an app's folder. Name one: ${npmCommand(stack, "env", "--file ../my-app")}`);
    }
    refuseRivals(
      process.env,
      () => "the shell's environment",
      (name) => `Run: unset ${name}`,
    );
    const target = app.file ?? path.join(app.folder, file);
    place = ["--file", target];
    say(target, await writeEnvironmentFile(target, { ...variables, ...ofDatabase }));
    if (values.database !== undefined) await tellShadow(target, values.database, ofDatabase);
    // Without those of the database, because these messages contain values.
    const { severe, told } = findLosses(target, variables, (other) => again("--file", other));
    told.forEach(tell);
    if (severe.length > 0) throw new Error(severe.join("\n"));
  } else {
    refuseRivals(process.env, () => "the environment");
    if (values.tunnel !== true) {
      refuseLoopback(outputs, stack, `${again(...place)} --tunnel`);
      if (values.database !== undefined) {
        throw new Error(
          `--database: leads to the stack's tunnel, it should come with --tunnel. Open ${npmCommand(stack, "tunnel")} in the job, then run: ${again(...place)} --tunnel`,
        );
      }
    }
    const target = process.env["GITHUB_ENV"] ?? "";
    if (target === "") throw new Error("GITHUB_ENV: is not set, --ci github should run in a step of GitHub Actions.");
    const all = { ...variables, ...ofDatabase };
    const passwords = Object.values(ofDatabase).map((url) => new URL(url).password);
    await writeGithubEnvironment(all, [outputs.adminKey, ...new Set(passwords)], target);
    say("the job", { added: Object.keys(all), changed: [], closed: false });
  }
  const names = Object.keys(publicUrls).join(" and ");
  if (prefix !== "") {
    tell(`${names} are compiled into the app: build it again when they change.`);
  } else if (values.framework === undefined && values.prefix === undefined) {
    tell(
      `${names} do not reach a browser bundle, because package.json contains no framework with a known prefix. ` +
        `If your framework has a prefix, such as PUBLIC_, run: ${again(...place)} --prefix PUBLIC_`,
    );
  }
  if (isLoopback(outputs.backendUrl) || values.database !== undefined) {
    const which = isLoopback(outputs.backendUrl) ? "The URLs work" : "Those of the database work";
    tell(`${which} while the tunnel is open: ${npmCommand(stack, "tunnel")}`);
  }
  return 0;
}

/** This program's own folder, which is not an app's. */
const PROJECT = path.resolve(import.meta.dirname, "../..");

/** The app's folder, its framework, and the file if one is named. npm sets INIT_CWD to the folder that it was called from. */
async function findApp(named: string | undefined): Promise<{ folder: string; file?: string; framework: string }> {
  const target = path.resolve(process.env["INIT_CWD"] ?? "", named ?? "");
  const isFolder = (await stat(target).catch(() => undefined))?.isDirectory() ?? false;
  const folder = isFolder ? target : path.dirname(target);
  return {
    folder,
    framework: detectFramework(await readManifest(path.join(folder, "package.json"))),
    ...(isFolder ? {} : { file: target }),
  };
}

async function readManifest(file: string): Promise<Manifest> {
  const text = await readFile(file, "utf8").catch(() => "{}");
  try {
    return JSON.parse(text) as Manifest;
  } catch {
    throw new Error(`${file}: is not JSON, it should be. Fix it, or name the app's framework with --framework.`);
  }
}

/** A migration tool empties its shadow, so one that is left from another database could be lost. */
async function tellShadow(file: string, database: string, variables: Record<string, string>): Promise<void> {
  const name = "SHADOW_DATABASE_URL";
  if (name in variables || parse(await readFile(file, "utf8"))[name] === undefined) return;
  tell(
    `${file}: sets ${name}, but database ${database} has no shadow. Remove it, because it leads to another database.`,
  );
}

function refuseFramework(name: string): never {
  throw new Error(`--framework: ${name} is unknown, it should be one of ${Object.keys(FRAMEWORKS).join(", ")}.`);
}

function checkedPrefix(prefix: string): string {
  if (/^([A-Za-z]\w*_)?$/.test(prefix)) return prefix;
  throw new Error(
    `--prefix: ${prefix} is not the start of a variable's name, it should be like PUBLIC_, with the underscore.`,
  );
}

/** Prints only names, because a value may be the key. */
function say(place: string, { added, changed, closed }: Written): void {
  const done = [
    ...(added.length > 0 ? [`added ${added.join(", ")}`] : []),
    ...(changed.length > 0 ? [`changed ${changed.join(", ")}`] : []),
    ...(closed ? ["closed to other users"] : []),
  ];
  tell(`${place}: ${done.length > 0 ? done.join("; ") : "unchanged"}`);
}

/** To stderr, because a CI runner reads commands from stdout. */
function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}
