import { readFile, stat } from "node:fs/promises";
import path from "node:path";
import { parseArgs } from "node:util";

import { requireStack } from "../arguments.ts";
import { outputsOf } from "../outputs.ts";
import { State } from "../state.ts";
import { writeEnvironmentFile, type Written } from "./file.ts";
import { detectFramework, FRAMEWORKS, type Manifest } from "./frameworks.ts";
import { writeGithubEnvironment } from "./github.ts";
import { refuseRivals } from "./rivals.ts";

const HELP = `Usage: npm run env -- --stack STACK [--file PATH] [--framework NAME]
       npm run env -- --stack STACK --ci github [--framework NAME]

Gives an app the URLs and the admin key of a stack: CONVEX_SELF_HOSTED_URL and CONVEX_SELF_HOSTED_ADMIN_KEY for the Convex
CLI, and the URLs of API and HTTP actions under the names by which the app's framework shows them to browsers.

  --file PATH       environment file or folder of the app; without it, the file its framework reads, in the folder npm
                    was called from. What else the file holds stays as it is.
  --framework NAME  ${Object.keys(FRAMEWORKS).join(", ")}; without it, the one of the app's package.json
  --ci github       sets them for the later steps of a GitHub Actions job instead, and masks the key in its logs
`;

/**
 * The command `env`: writes an app's environment file, or a CI job's.
 *
 * @returns the process's exit code
 * @throws Error saying what is in the way and how to mend it; the key is in no message
 */
export async function writeEnvironment(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      stack: { type: "string", short: "s" },
      file: { type: "string" },
      framework: { type: "string" },
      ci: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const stack = requireStack("env", values.stack);
  if (values.ci !== undefined && (values.ci !== "github" || values.file !== undefined)) {
    throw new Error("env: --ci should be github, without --file. See: npm run env -- --help");
  }
  const outputs = outputsOf(await State.read(stack));
  const app = await findApp(values.file);
  const framework = values.framework ?? app.framework;
  const { prefix, file } = FRAMEWORKS[framework] ?? refuseFramework(framework);
  const publicUrls = { [`${prefix}CONVEX_URL`]: outputs.backendUrl, [`${prefix}CONVEX_SITE_URL`]: outputs.siteUrl };
  const variables = {
    CONVEX_SELF_HOSTED_URL: outputs.backendUrl,
    CONVEX_SELF_HOSTED_ADMIN_KEY: outputs.adminKey,
    ...publicUrls,
  };
  if (values.ci === undefined) {
    if (values.file === undefined && app.folder === PROJECT) {
      throw new Error(`env: this folder is no app's. Name one: npm run env -- --stack ${stack} --file ../my-app`);
    }
    const target = app.file ?? path.join(app.folder, file);
    say(target, await writeEnvironmentFile(target, variables));
  } else {
    refuseRivals(process.env, "the environment");
    const target = process.env["GITHUB_ENV"] ?? "";
    if (target === "") throw new Error("GITHUB_ENV: is not set, --ci github should run in a step of GitHub Actions.");
    await writeGithubEnvironment(variables, outputs.adminKey, target);
    say("the job", { added: Object.keys(variables), changed: [], closed: false });
  }
  if (prefix !== "") {
    tell(`${Object.keys(publicUrls).join(" and ")} are compiled into the app: build it anew when they change.`);
  }
  if (new URL(outputs.backendUrl).hostname === "127.0.0.1") {
    tell(`The URLs lead there while the tunnel is open: npm run tunnel -- --stack ${stack}`);
  }
  return 0;
}

/** This program's own folder, which no app lives in. */
const PROJECT = path.resolve(import.meta.dirname, "../..");

/** The app's folder, its framework, and the file where one is named. npm says where it was called from. */
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
    throw new Error(`${file}: is not JSON, it should be the app's. Mend it, or name its framework with --framework.`);
  }
}

function refuseFramework(name: string): never {
  throw new Error(`--framework: ${name} is unknown, it should be one of ${Object.keys(FRAMEWORKS).join(", ")}.`);
}

/** Names only: a value may be the key. */
function say(place: string, { added, changed, closed }: Written): void {
  const done = [
    ...(added.length > 0 ? [`added ${added.join(", ")}`] : []),
    ...(changed.length > 0 ? [`changed ${changed.join(", ")}`] : []),
    ...(closed ? ["closed to other users"] : []),
  ];
  tell(`${place}: ${done.length > 0 ? done.join("; ") : "unchanged"}`);
}

/** Stdout is a CI runner's, which takes commands from it. */
function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}
