import { existsSync, readFileSync } from "node:fs";
import { parseEnv } from "node:util";

// Looks before `convex deploy` at what would send it elsewhere or make it fail half-way. All mistakes come at once.

/** Releases of the CLI that cannot deploy to a self-hosted backend, and how they fail. */
const BROKEN_RELEASES: Record<string, string> = {
  "1.26.1": "it ends with \"Cannot read properties of undefined (reading 'length')\"",
  "1.29.2": "it asks for evaluate_push, which backends of its time answer with 404",
  "1.31.7": 'its pushes are refused with "BadJsonBody ... appDefinition: missing field functions"',
};

/** They win over CONVEX_SELF_HOSTED_URL, or are refused beside it. */
const OF_CONVEX_CLOUD = ["CONVEX_DEPLOY_KEY", "CONVEX_DEPLOYMENT_TOKEN", "CONVEX_DEPLOYMENT"];

const WRITE_ENV = "Write .env.local with `npm run env` of convex-droplet, or set it in the environment.";

/** Where the CLI looks for variables; the first that has one wins. */
const SOURCES = [
  { name: "the environment", variables: process.env },
  ...[".env.local", ".env"].map((name) => ({
    name,
    variables: existsSync(name) ? parseEnv(readFileSync(name, "utf8")) : {},
  })),
];

function find(name: string): { value: string; source: string } | undefined {
  const source = SOURCES.find(({ variables }) => variables[name] !== undefined);
  return source && { value: source.variables[name] ?? "", source: source.name };
}

function checkRelease(): string[] {
  const file = "node_modules/convex/package.json";
  if (!existsSync(file)) return [`${file}: is missing, it should be there. Install it with: npm ci`];
  const { version } = JSON.parse(readFileSync(file, "utf8")) as { version: string };
  const fault = BROKEN_RELEASES[version];
  return fault === undefined
    ? []
    : [`convex: ${version} is broken (${fault}), it should be another. Run: npm install --save-exact convex@1.48.0`];
}

function checkCloudVariables(): string[] {
  return OF_CONVEX_CLOUD.flatMap((name) => {
    const found = find(name);
    return found === undefined || found.value === ""
      ? []
      : [`${name}: is set in ${found.source}, it should not be: it means Convex's own cloud. Remove it there.`];
  });
}

function checkUrl(): string[] {
  const name = "CONVEX_SELF_HOSTED_URL";
  const value = find(name)?.value ?? "";
  if (value === "") return [`${name}: is not set, it should be the platform's backendUrl. ${WRITE_ENV}`];
  const url = URL.parse(value);
  if (url !== null && /^https?:$/.test(url.protocol) && value === url.origin) return [];
  const should = url === null ? "https://api.example.com" : url.origin;
  return [`${name}: is ${value}, it should be scheme, host and port alone, such as ${should}. ${WRITE_ENV}`];
}

function checkAdminKey(): string[] {
  const name = "CONVEX_SELF_HOSTED_ADMIN_KEY";
  const value = find(name)?.value ?? "";
  if (value === "") return [`${name}: is not set, it should be the platform's adminKey. ${WRITE_ENV}`];
  // Shown by none of these messages: a part of a key is a part of a key.
  return /^[^|]+\|[0-9a-f]+$/.test(value)
    ? []
    : [`${name}: is not a whole key, it should be the instance's name, a | and hexadecimal digits. ${WRITE_ENV}`];
}

const mistakes = [...checkRelease(), ...checkCloudVariables(), ...checkUrl(), ...checkAdminKey()];
for (const mistake of mistakes) process.stderr.write(`${mistake}\n`);
if (mistakes.length > 0) process.exitCode = 1;
