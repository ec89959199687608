import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

import { parse } from "dotenv";

import { declaredBackend } from "../drift/expected.ts";
import { json } from "../drift/facts.ts";
import type { Inside } from "../drift/inside.ts";
import type { State } from "../state.ts";
import { type Ailment, ill, type Station, well } from "./station.ts";

/** What an app looks at by itself before each deploy; the example's is every app's. */
const CHECK_TARGET = path.resolve(import.meta.dirname, "../../examples/app-repo/scripts/check-target.ts");

/**
 * Examines whether the Convex CLI in an app's folder would reach this stack and be let in, and whether sign-in can work.
 *
 * @param folder  the app's
 * @param inside  what was seen on the droplet, where it could be looked at
 * @throws Error when there is no such folder
 */
export async function examineApp(folder: string, state: State, inside: Inside | undefined): Promise<Station> {
  const name = `app ${folder}`;
  if (!existsSync(path.join(folder, "package.json"))) {
    throw new Error(`--app: ${folder} holds no package.json, it should be an app's folder.`);
  }
  const write = `npm run env -- --stack ${state.stack} --file ${folder}`;
  const mistakes = await mistakesOf(folder);
  if (mistakes.length > 0) {
    return ill(
      name,
      mistakes.map((symptom) => ({ symptom, cure: `do as it says, or: ${write}` })),
    );
  }
  const ailments = [...(await target(folder, state, write)), ...signIn(folder, state.stack, inside)];
  return ailments.length > 0 ? ill(name, ailments) : well(name, "reaches this stack with a key that it takes");
}

/** A line each; the check names no key. */
async function mistakesOf(folder: string): Promise<string[]> {
  const checked = await promisify(execFile)(process.execPath, [CHECK_TARGET], { cwd: folder }).catch(
    (failure: unknown) => {
      if (failure instanceof Error && "stderr" in failure) return { stderr: String(failure.stderr) };
      throw failure;
    },
  );
  return checked.stderr.split("\n").filter((line) => line !== "");
}

async function target(folder: string, state: State, write: string): Promise<Ailment[]> {
  const variables = await environmentOf(folder);
  const url = variables["CONVEX_SELF_HOSTED_URL"] ?? "";
  const key = variables["CONVEX_SELF_HOSTED_ADMIN_KEY"] ?? "";
  const declared = declaredBackend(state)?.variables;
  const origin = declared?.get("CONVEX_CLOUD_ORIGIN");
  if (url !== origin) {
    return [{ symptom: `CONVEX_SELF_HOSTED_URL is ${url}, this stack's is ${origin ?? "not there yet"}`, cure: write }];
  }
  const status = await fetch(`${url}/api/check_admin_key`, {
    headers: { authorization: `Convex ${key}` },
    signal: AbortSignal.timeout(10_000),
  }).then(
    (response) => response.status,
    () => undefined,
  );
  // One that does not answer ails elsewhere.
  if (status === undefined || status === 200) return [];
  const [owner] = key.split("|", 1);
  const name = declared?.get("INSTANCE_NAME");
  return [
    {
      symptom: `the backend refuses CONVEX_SELF_HOSTED_ADMIN_KEY (BadAdminKey, ${status})`,
      cause:
        owner === name
          ? "the key was made from another secret than the backend runs with. A new key is no cure where the backend lost its own: then it is ill itself, above"
          : `the key is for an instance ${owner ?? ""}, this one is ${name ?? ""}`,
      cure: write,
    },
  ];
}

/** As the CLI reads them: the process's win over .env.local, and that over .env. */
async function environmentOf(folder: string): Promise<Record<string, string | undefined>> {
  const read = async (name: string) => parse(await readFile(path.join(folder, name), "utf8").catch(() => ""));
  return { ...(await read(".env")), ...(await read(".env.local")), ...process.env };
}

/** An app that signs people in with Convex Auth needs a pair of keys among its deployment's variables. */
function signIn(folder: string, stack: string, inside: Inside | undefined): Ailment[] {
  const configured = ["ts", "js"].some((kind) => existsSync(path.join(folder, `convex/auth.config.${kind}`)));
  const set = inside === undefined ? undefined : json<Record<string, string>>(inside, "backend.environment");
  if (!configured || set === undefined) return [];
  const missing = ["JWT_PRIVATE_KEY", "JWKS"].filter((name) => set[name] === undefined);
  if (missing.length === 0) return [];
  return [
    {
      symptom: `convex/auth.config is there, but the deployment has no ${missing.join(" and no ")}`,
      cause: 'nobody can sign in: "No auth provider found", because no command sets them up on a self-hosted backend',
      cure: `pulumi config set --stack ${stack} authKeys true, then pulumi up --stack ${stack}`,
    },
  ];
}
