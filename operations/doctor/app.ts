import { existsSync } from "node:fs";
import path from "node:path";

import { findForCli, findMistakes } from "../../examples/app-repo/scripts/target/checks.ts";
import { type Platform, rewriting, shown } from "../../examples/app-repo/scripts/target/mistake.ts";
import { quote } from "../../contract/scripts.ts";
import { declaredBackend } from "../findings/expected.ts";
import type { Inside } from "../findings/inside.ts";
import type { State } from "../state.ts";
import { examineSignIn } from "./sign-in.ts";
import { type Problem, unhealthy, type Check, healthy } from "./check.ts";

/**
 * Examines whether the Convex CLI in an app's folder would reach this stack and be let in, whether the app itself calls this
 * stack, and whether sign-in can work. What an app looks at by itself before each deploy is the same check.
 *
 * @param folder  the app's
 * @param inside  what was seen on the droplet, where it could be looked at
 * @throws Error when there is no such folder
 */
export async function examineApp(folder: string, state: State, inside: Inside | undefined): Promise<Check> {
  const name = `app ${folder}`;
  if (!existsSync(path.join(folder, "package.json"))) {
    throw new Error(`--app: ${folder} holds no package.json, it should be an app's folder.`);
  }
  const { stack } = state;
  const declared = declaredBackend(state)?.variables;
  const platform: Platform = {
    backendUrl: declared?.get("CONVEX_CLOUD_ORIGIN"),
    siteUrl: declared?.get("CONVEX_SITE_ORIGIN"),
    write: (file) => `Run: npm run env -- --stack ${stack} --file ${quote(file)}`,
    lookAt: (folders) =>
      folders.map((other) => `Run: npm run doctor -- --stack ${stack} --app ${quote(other)}`).join(", or: "),
  };
  const mistakes = findMistakes(folder, process.env, platform);
  const ailments = [
    ...mistakes.map(({ what, fix }) => ({ symptom: what, cure: command(fix) })),
    ...(mistakes.some(({ what }) => what.startsWith("CONVEX_SELF_HOSTED_"))
      ? []
      : await target(folder, platform, declared)),
    ...examineSignIn(folder, stack, inside),
  ];
  return ailments.length > 0 ? unhealthy(name, ailments) : healthy(name, "reaches this stack with a key that it takes");
}

function command(fix: string): string {
  return fix.replaceAll("Run: ", "");
}

/** Whether the backend that the CLI would call is this stack's, and takes the key. */
async function target(
  folder: string,
  platform: Platform,
  declared: Map<string, string> | undefined,
): Promise<Problem[]> {
  const url = findForCli(folder, "CONVEX_SELF_HOSTED_URL", process.env);
  const key = findForCli(folder, "CONVEX_SELF_HOSTED_ADMIN_KEY", process.env);
  if (url === undefined || key === undefined) return [];
  if (url.value !== platform.backendUrl) {
    return [
      {
        symptom: `CONVEX_SELF_HOSTED_URL is ${shown(url.value)}, this stack's is ${platform.backendUrl ?? "not there yet"}`,
        cause: `the Convex CLI takes it from ${url.place}, before all other places`,
        cure: command(rewriting("CONVEX_SELF_HOSTED_URL", url, platform)),
      },
    ];
  }
  const status = await fetch(`${url.value}/api/check_admin_key`, {
    headers: { authorization: `Convex ${key.value}` },
    signal: AbortSignal.timeout(10_000),
  }).then(
    (response) => response.status,
    () => undefined,
  );
  // One that does not answer ails elsewhere.
  if (status === undefined || status === 200) return [];
  const [owner = ""] = key.value.split("|", 1);
  const name = declared?.get("INSTANCE_NAME") ?? "";
  return [
    {
      symptom: `the backend refuses CONVEX_SELF_HOSTED_ADMIN_KEY of ${key.place} (BadAdminKey, ${status})`,
      cause:
        owner === name
          ? "the key was made from another secret than the backend runs with. A new key does not help if the backend lost its own secret: then fix the backend first, above"
          : `the key is for an instance ${owner}, this one is ${name}`,
      cure: command(rewriting("CONVEX_SELF_HOSTED_ADMIN_KEY", key, platform)),
    },
  ];
}
