import { existsSync } from "node:fs";
import path from "node:path";

import { CONVEX_CLI, environmentFiles, find, type Found, readVariables, type Shell } from "./environment.ts";
import { type Mistake, type Platform, removal, rewriting, shown } from "./mistake.ts";
import * as app from "./package.ts";
import { publicMistakes } from "./public.ts";
import { RIVALS } from "./rivals.ts";

/** Releases of the CLI that cannot deploy to a self-hosted backend, and their failures. */
const BROKEN_RELEASES: Record<string, string> = {
  "1.26.1": "it fails with \"Cannot read properties of undefined (reading 'length')\"",
  "1.29.2": "it calls evaluate_push, and backends of that time answer with 404",
  "1.31.7": 'its pushes are refused with "BadJsonBody ... appDefinition: missing field functions"',
};

const GOOD_RELEASE = "convex@1.48.0";

/**
 * Finds all mistakes of the folder that the Convex CLI runs in.
 *
 * @throws Error if package.json or convex.json is not JSON
 */
export function findMistakes(folder: string, shell: Shell, platform: Platform): Mistake[] {
  const ofPackage = packageMistakes(folder, platform);
  // In the wrong folder, other mistakes mean nothing.
  if (ofPackage.isElsewhere) return ofPackage.mistakes;
  return [
    ...ofPackage.mistakes,
    ...checkRivals(folder, shell),
    ...checkUrl(folder, shell, platform),
    ...checkAdminKey(folder, shell, platform),
    ...publicMistakes(folder, shell, {
      ...platform,
      backendUrl: platform.backendUrl ?? ownBackend(folder, shell),
    }),
  ];
}

/**
 * Finds the mistakes of the package itself, which do not depend on the target: the wrong folder, or a CLI that cannot deploy.
 *
 * @throws Error if package.json or convex.json is not JSON
 */
export function packageMistakes(
  folder: string,
  platform: Pick<Platform, "lookAt">,
): { isElsewhere: boolean; mistakes: Mistake[] } {
  const elsewhere = checkFolder(folder, platform);
  return elsewhere.length > 0
    ? { isElsewhere: true, mistakes: elsewhere }
    : { isElsewhere: false, mistakes: checkRelease(folder) };
}

/** The place that the Convex CLI would read a variable from. */
export function findForCli(folder: string, name: string, shell: Shell): Found | undefined {
  return find(folder, name, CONVEX_CLI, shell);
}

/** In a wrong folder, the CLI asks questions, or finds no functions and removes all functions of the deployment. */
function checkFolder(folder: string, platform: Pick<Platform, "lookAt">): Mistake[] {
  const manifest = app.readManifest(folder);
  const file = path.join(folder, "package.json");
  if (manifest === undefined || !app.dependsOn(manifest, "convex")) {
    const what = manifest === undefined ? "is missing" : "does not list convex";
    const add = `Run: ${app.packageManager(folder).add} ${GOOD_RELEASE}`;
    const found = app.functionsBelow(folder);
    return [
      {
        what: `${file}: ${what}, it should be the package that the functions belong to`,
        fix: found.length > 0 ? platform.lookAt(found) : add,
      },
    ];
  }
  const functions = app.functionsFolder(folder);
  if (existsSync(path.join(folder, functions))) return [];
  const found = app.functionsBelow(folder);
  return [
    {
      what: `${path.join(folder, functions)}: is missing, it should contain the functions: without it, a deploy removes all functions of the deployment`,
      fix: found.length > 0 ? platform.lookAt(found) : 'Name their folder in convex.json: {"functions":"FOLDER"}',
    },
  ];
}

function checkRelease(folder: string): Mistake[] {
  const version = app.installed(folder, "convex")?.version;
  const { install, add } = app.packageManager(folder);
  if (version === undefined) {
    return app.isPlugAndPlay(folder)
      ? []
      : [
          {
            what: "convex: is installed neither here nor in a folder above, it should be",
            fix: `Run: ${install}`,
          },
        ];
  }
  const fault = BROKEN_RELEASES[version];
  if (fault === undefined) return [];
  return [
    { what: `convex: ${version} is broken (${fault}), it should be another`, fix: `Run: ${add} ${GOOD_RELEASE}` },
  ];
}

function checkRivals(folder: string, shell: Shell): Mistake[] {
  return Object.entries(RIVALS).flatMap(([name, reason]) => {
    const found = findForCli(folder, name, shell);
    if (found === undefined || found.value === "") return [];
    return [{ what: `${name}: is set in ${found.place}, it should not be: ${reason}`, fix: removal(name, found) }];
  });
}

function checkUrl(folder: string, shell: Shell, platform: Platform): Mistake[] {
  const name = "CONVEX_SELF_HOSTED_URL";
  const found = findForCli(folder, name, shell);
  if (found === undefined || found.value === "") {
    return [notSet(folder, name, "the platform's backendUrl", found, shell, platform)];
  }
  const url = URL.parse(found.value);
  const isHost = url !== null && /^https?:$/.test(url.protocol) && /^[\w.-]+$|^\[[\da-f:.]+\]$/.test(url.hostname);
  if (isHost && found.value === url.origin) return [];
  return [
    {
      what: `${name}: is ${shown(found.value)} in ${found.place}, it should be scheme, host and port alone, such as ${isHost ? url.origin : "https://api.example.com"}`,
      fix: rewriting(name, found, platform),
    },
  ];
}

function checkAdminKey(folder: string, shell: Shell, platform: Platform): Mistake[] {
  const name = "CONVEX_SELF_HOSTED_ADMIN_KEY";
  const found = findForCli(folder, name, shell);
  if (found === undefined || found.value === "") {
    return [notSet(folder, name, "the platform's adminKey", found, shell, platform)];
  }
  // No message shows the key, not even a part of it.
  if (/^[^|]+\|[0-9a-f]+$/.test(found.value)) return [];
  return [
    {
      what: `${name}: is not a whole key in ${found.place}, it should be the instance's name, a | and hexadecimal digits`,
      fix: rewriting(name, found, platform),
    },
  ];
}

/** The backend if nothing else names it: the target of the functions, unless that is only the local end of a tunnel. */
function ownBackend(folder: string, shell: Shell): string | undefined {
  const url = URL.parse(findForCli(folder, "CONVEX_SELF_HOSTED_URL", shell)?.value ?? "");
  return url === null || /^(localhost|127\..*|\[::1\])$/.test(url.hostname) ? undefined : url.origin;
}

/** To the CLI, an empty value means no value, and it reads no further files. */
function notSet(
  folder: string,
  name: string,
  should: string,
  empty: Found | undefined,
  shell: Shell,
  platform: Platform,
): Mistake {
  if (empty !== undefined) {
    return {
      what: `${name}: is empty in ${empty.place}, which hides all others, it should be ${should}`,
      fix: rewriting(name, empty, platform),
    };
  }
  const unread = environmentFiles(folder)
    .map((file) => readVariables(path.join(folder, file))[name])
    .find((found) => found !== undefined);
  const but = unread === undefined ? "" : ` where the Convex CLI looks, only in ${unread.place}`;
  // Turbo's tasks get only the variables that its configuration names.
  const turbo = shell["TURBO_HASH"] === undefined ? "" : ` Under turbo, name it in the task's passThroughEnv, too.`;
  return {
    what: `${name}: is not set${but}, it should be ${should}`,
    fix: platform.write(path.join(folder, ".env.local")) + turbo,
  };
}
