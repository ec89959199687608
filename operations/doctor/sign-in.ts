import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

import { dependsOn, functionsFolder, readManifest } from "../../examples/app-repo/scripts/target/package.ts";
import { json, sha256 } from "../findings/facts.ts";
import type { Inside } from "../findings/inside.ts";
import type { Problem } from "./check.ts";
import { pulumiCommand } from "../../contract/commands.ts";

/** Variables that every deployment has without being set. */
const BUILT_IN = ["CONVEX_CLOUD_URL", "CONVEX_SITE_URL"];

/** The relative imports of a file. */
const IMPORT = /(?:from|import)\s*\(?\s*["'](\.[^"']*)["']/g;

/** Strings, which are kept, and comments, which are removed. */
const STRING_OR_COMMENT = /("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)|\/\/.*|\/\*[^]*?\*\//g;

/**
 * Checks that the deployment has the variables that sign-in needs: those that the app's auth.config reads, and those of the
 * packages that issue tokens on the backend itself.
 *
 * @param folder  the app's
 * @param inside  the facts from the droplet, if the droplet could be checked
 */
export function examineSignIn(folder: string, stack: string, inside: Inside | undefined): Problem[] {
  const functions = path.join(folder, functionsFolder(folder));
  const config = ["auth.config.ts", "auth.config.js"].find((name) => existsSync(path.join(functions, name)));
  const set = inside === undefined ? undefined : json<Record<string, string>>(inside, "functions.environment");
  if (config === undefined || set === undefined) return [];
  // An empty value is neither an issuer nor a secret.
  const isMissing = (name: string) => set[name] === undefined || set[name] === sha256("");

  const source = sourceOf(path.join(functions, config));
  const read = variablesOf(source);
  const keys = usesConvexAuth(folder, source, read) ? ["JWT_PRIVATE_KEY", "JWKS"].filter(isMissing) : [];
  const betterAuth = dependsOn(readManifest(folder) ?? {}, "@convex-dev/better-auth");
  const file = path.join(functions, config);
  return [
    ...(keys.length > 0 ? [withoutKeys(stack, file, keys)] : []),
    ...read
      .filter((name) => isMissing(name) && !keys.includes(name) && !BUILT_IN.includes(name))
      .map((name) => ({
        symptom: `${file} reads ${name}, but the deployment does not have this variable`,
        cause: "a deploy fails with AuthConfigMissingEnvironmentVariable, and nobody can sign in",
        cure: setting(stack, name, "VALUE"),
      })),
    ...(betterAuth && isMissing("BETTER_AUTH_SECRET")
      ? [
          {
            symptom: `${file} uses Better Auth, but the deployment has no BETTER_AUTH_SECRET`,
            cause: "Better Auth signs with this secret, and refuses to work without it",
            cure: setting(stack, "BETTER_AUTH_SECRET", '"$(openssl rand -base64 32)" --secret'),
          },
        ]
      : []),
  ];
}

function withoutKeys(stack: string, file: string, keys: string[]): Problem {
  return {
    symptom: `${file} uses Convex Auth, but the deployment has no ${keys.join(" and no ")}`,
    cause: 'nobody can sign in: "No auth provider found", because no command sets them up on a self-hosted backend',
    cure: `${pulumiCommand(stack, "config set", "authKeys true")} && ${pulumiCommand(stack, "up")}`,
  };
}

function setting(stack: string, name: string, value: string): string {
  const set = pulumiCommand(stack, "config set", `--path functionEnvironment.${name} ${value}`);
  return `${set} && ${pulumiCommand(stack, "up")}`;
}

/**
 * Convex Auth issues its tokens on the backend's own site. If auth.config names only another provider's domain, its package
 * is a leftover.
 */
function usesConvexAuth(folder: string, source: string, read: string[]): boolean {
  return (
    dependsOn(readManifest(folder) ?? {}, "@convex-dev/auth") &&
    (read.includes("CONVEX_SITE_URL") || !/\b(domain|issuer)\b/.test(source))
  );
}

/** The text of a module and of the modules that it imports by relative paths, without comments. */
function sourceOf(file: string, seen = new Set<string>()): string {
  if (seen.has(file)) return "";
  seen.add(file);
  const text = readFileSync(file, "utf8").replace(STRING_OR_COMMENT, (_, string: string | undefined) => string ?? "");
  const imported = [...text.matchAll(IMPORT)].flatMap(([, name = ""]) => {
    const target = path.resolve(path.dirname(file), name);
    const candidates = [
      target,
      target.replace(/\.js$/, ".ts"),
      ...[".ts", ".js", "/index.ts"].map((end) => target + end),
    ];
    return candidates.filter((candidate) => /\.[jt]s$/.test(candidate) && existsSync(candidate)).slice(0, 1);
  });
  return [text, ...imported.map((module) => sourceOf(module, seen))].join("\n");
}

/** The names of the variables that a source reads, in any notation. */
function variablesOf(source: string): string[] {
  const named = source.matchAll(/process\.env(?:\??\.([A-Za-z_]\w*)|(?:\?\.)?\[\s*["'`](\w+)["'`]\s*\])/g);
  const unpacked = source.matchAll(/\{([^{}]*)\}\s*=\s*process\.env\b(?!\s*[.[?])/g);
  return [
    ...new Set([
      ...[...named].map(([, dotted, quoted]) => dotted ?? quoted ?? ""),
      ...[...unpacked].flatMap(([, names = ""]) => names.split(",").map((name) => /\w+/.exec(name)?.[0] ?? "")),
    ]),
  ].filter((name) => name !== "" && name !== "NODE_ENV");
}
