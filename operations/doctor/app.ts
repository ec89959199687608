import { existsSync } from "node:fs";
import path from "node:path";

import { findForCli, findMistakes } from "../../examples/app-repo/scripts/target/checks.ts";
import { type Platform, rewriting, shown } from "../../examples/app-repo/scripts/target/mistake.ts";
import { quote } from "../../contract/scripts.ts";
import { declaredBackend } from "../findings/expected.ts";
import type { Inside } from "../findings/inside.ts";
import type { State } from "../state.ts";
import { npmCommand } from "../typed.ts";
import { examineSignIn } from "./sign-in.ts";
import { type Problem, unhealthy, type Check, healthy } from "./check.ts";

/**
 * Checks that the Convex CLI in an app's folder would reach this stack with an accepted key, that the app itself calls this
 * stack, and that sign-in can work. An app runs the same check before each deploy.
 *
 * @param folder  the app's
 * @param inside  the facts from the droplet, if the droplet could be checked
 * @throws Error if the folder has no package.json
 */
export async function examineApp(folder: string, state: State, inside: Inside | undefined): Promise<Check> {
  const name = `app ${folder}`;
  if (!existsSync(path.join(folder, "package.json"))) {
    throw new Error(`--app: ${folder} has no package.json, it should be an app's folder.`);
  }
  const { stack } = state;
  const declared = declaredBackend(state)?.variables;
  const platform: Platform = {
    backendUrl: declared?.get("CONVEX_CLOUD_ORIGIN"),
    siteUrl: declared?.get("CONVEX_SITE_ORIGIN"),
    write: (file) => `Run: ${npmCommand(stack, "env", "--file", quote(file))}`,
    lookAt: (folders) =>
      folders.map((other) => `Run: ${npmCommand(stack, "doctor", "--app", quote(other))}`).join(", or: "),
  };
  const mistakes = findMistakes(folder, process.env, platform);
  const ailments = [
    ...mistakes.map(({ what, fix }) => ({ symptom: what, cure: command(fix) })),
    ...(mistakes.some(({ what }) => what.startsWith("CONVEX_SELF_HOSTED_"))
      ? []
      : await target(folder, platform, declared)),
    ...examineSignIn(folder, stack, inside),
  ];
  return ailments.length > 0
    ? unhealthy(name, ailments)
    : healthy(name, "reaches this stack with a key that the backend accepts");
}

function command(fix: string): string {
  return fix.replaceAll("Run: ", "");
}

/** Whether the CLI would call this stack's backend, and the backend accepts the key. */
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
        cause: `the Convex CLI reads it from ${url.place}, which wins over all other places`,
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
  // If it does not answer, an earlier check reports that.
  if (status === undefined || status === 200) return [];
  const [owner = ""] = key.value.split("|", 1);
  const name = declared?.get("INSTANCE_NAME") ?? "";
  return [
    {
      symptom: `the backend refuses CONVEX_SELF_HOSTED_ADMIN_KEY of ${key.place} (BadAdminKey, ${status})`,
      cause:
        owner === name
          ? "the key was made from another secret than the backend runs with. If the backend lost its secret, a new key does not help: then fix the backend first, above"
          : `the key is for an instance ${owner}, this one is ${name}`,
      cure: command(rewriting("CONVEX_SELF_HOSTED_ADMIN_KEY", key, platform)),
    },
  ];
}
