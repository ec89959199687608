import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { examineApp } from "../../operations/doctor/app.ts";
import { sha256 } from "../../operations/findings/facts.ts";
import type { Inside } from "../../operations/findings/inside.ts";
import { State } from "../../operations/state.ts";

// Nothing listens there; the check of the URLs reports that, not this one.
const BACKEND = "http://127.0.0.1:1";
const SITE = "http://127.0.0.1:2";
const KEY = "convex-self-hosted|01abcdef";

const envs = [`CONVEX_CLOUD_ORIGIN=${BACKEND}`, `CONVEX_SITE_ORIGIN=${SITE}`, "INSTANCE_NAME=convex-self-hosted"];
const container = { type: "docker:index/container:Container", name: "convex-backend", id: "1" };
const state = new State("dev", [{ ...container, inputs: { envs, ports: [] }, outputs: {} }]);

let app: string;

beforeEach(() => {
  app = mkdtempSync(path.join(tmpdir(), "doctor-app-"));
  put("package.json", '{"dependencies":{"convex":"1.48.0"}}');
  put("convex/messages.ts");
  put("node_modules/convex/package.json", '{"version":"1.48.0"}');
  put(".env.local", `CONVEX_SELF_HOSTED_URL=${BACKEND}\nCONVEX_SELF_HOSTED_ADMIN_KEY="${KEY}"\n`);
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(app, { recursive: true });
});

function put(file: string, text = ""): void {
  mkdirSync(path.dirname(path.join(app, file)), { recursive: true });
  writeFileSync(path.join(app, file), text);
}

function depend(...packages: string[]): void {
  const dependencies = Object.fromEntries(["convex", ...packages].map((name) => [name, "*"]));
  put("package.json", JSON.stringify({ dependencies }));
}

/** The app's problems, with these variables set in its deployment. */
async function examine(set: string[] = [], folder = app, value = "x") {
  const text = JSON.stringify(Object.fromEntries(set.map((name) => [name, sha256(value)])));
  const inside = { facts: new Map([["functions.environment", { exitCode: 0, text }]]) } as unknown as Inside;
  return (await examineApp(folder, state, inside)).ailments;
}

const setting = (name: string, value = "VALUE") =>
  `npx pulumi config set --stack dev --path functionEnvironment.${name} ${value} && npx pulumi up --stack dev`;

describe("the doctor's check of an app's folder and target", () => {
  it("finds no problem in an app that has what it needs", async () => {
    expect(await examine()).toEqual([]);
  });

  it("finds the CLI in a monorepo's root, and points from the root to the functions' package", async () => {
    put("packages/backend/package.json", '{"dependencies":{"convex":"*"}}');
    put("packages/backend/convex/messages.ts");
    const env = `CONVEX_SELF_HOSTED_URL=${BACKEND}\nCONVEX_SELF_HOSTED_ADMIN_KEY="${KEY}"\n`;
    put("packages/backend/.env.local", env);
    expect(await examine([], `${app}/packages/backend`)).toEqual([]);
    put("package.json", '{"workspaces":["packages/*"]}');
    expect(await examine()).toEqual([
      {
        symptom: `${app}/package.json: does not list convex, it should be the package that the functions belong to`,
        cure: `npm run doctor -- --stack dev --app ${app}/packages/backend`,
      },
    ]);
  });

  it("names the place of a URL that wins, and a fix that changes that place", async () => {
    put(".env", `CONVEX_SELF_HOSTED_URL=${BACKEND}\n`);
    put(".env.local", `# old\nCONVEX_SELF_HOSTED_URL=http://old:3210\nCONVEX_SELF_HOSTED_ADMIN_KEY="${KEY}"\n`);
    const symptom = `CONVEX_SELF_HOSTED_URL is http://old:3210/, this stack's is ${BACKEND}`;
    expect(await examine()).toEqual([
      {
        symptom,
        cause: `the Convex CLI reads it from ${app}/.env.local:2, which wins over all other places`,
        cure: `npm run env -- --stack dev --file ${app}/.env.local`,
      },
    ]);
    put(".env.local", `CONVEX_SELF_HOSTED_ADMIN_KEY="${KEY}"\n`);
    vi.stubEnv("CONVEX_SELF_HOSTED_URL", "http://old:3210");
    const [{ cure } = { cure: "" }] = await examine();
    expect(cure).toBe("unset CONVEX_SELF_HOSTED_URL");
    const left = execFileSync("sh", ["-c", `${cure} && echo "$CONVEX_SELF_HOSTED_URL"`], { encoding: "utf8" });
    expect(left).toBe("\n");
  });

  it("prints commands that a shell accepts unchanged, for any name of the folder", async () => {
    const spaced = path.join(app, "it's mine");
    put("it's mine/package.json", '{"dependencies":{"convex":"*"}}');
    put("it's mine/convex/messages.ts");
    const [{ cure } = { cure: "" }] = await examine([], spaced);
    const words = execFileSync("sh", ["-c", cure.replace("npm run env --", "printf '%s\\n'")], { encoding: "utf8" });
    expect(words.split("\n")).toContain(`${spaced}/.env.local`);
  });

  it("compares the URLs that browsers get with this stack's URLs", async () => {
    put(".env.production", "VITE_CONVEX_URL=http://old:3210\n");
    put(".env", "VITE_CONVEX_SITE_URL=http://old:3211\nVITE_CONVEX_URL=http://localhost:1\n");
    const ailments = await examine();
    expect(ailments.map(({ symptom }) => symptom).toSorted()).toEqual([
      `VITE_CONVEX_SITE_URL: is http://old:3211/ in ${app}/.env:1, it should be ${SITE}`,
      `VITE_CONVEX_URL: is http://old:3210/ in ${app}/.env.production:1, which wins in production, it should be ${BACKEND}`,
    ]);
    expect(ailments.map(({ cure }) => cure)).toContain(`Write there: VITE_CONVEX_URL=${BACKEND}`);
    put(".env.production", `VITE_CONVEX_URL=${BACKEND}\n`);
    put(".env", `VITE_CONVEX_SITE_URL=${SITE}\n`);
    expect(await examine()).toEqual([]);
  });
});

describe("the doctor's check of sign-in", () => {
  const CLERK =
    'export default { providers: [{ domain: process.env.CLERK_JWT_ISSUER_DOMAIN!, applicationID: "convex" }] };';
  const CONVEX_AUTH =
    'export default { providers: [{ domain: process.env.CONVEX_SITE_URL, applicationID: "convex" }] };';

  it.each([
    ["Clerk", ["@clerk/clerk-react"], CLERK, ["CLERK_JWT_ISSUER_DOMAIN"]],
    [
      "Auth0",
      [],
      'export default { providers: [{ domain: process.env["AUTH0_DOMAIN"], applicationID: process.env.AUTH0_CLIENT_ID }] };',
      ["AUTH0_DOMAIN", "AUTH0_CLIENT_ID"],
    ],
    [
      "WorkOS",
      [],
      "const clientId = process.env.WORKOS_CLIENT_ID;\nexport default { providers: [{ type: 'customJwt', issuer: `https://api.workos.com/user_management/${clientId}` }] };",
      ["WORKOS_CLIENT_ID"],
    ],
    [
      "another OIDC provider",
      [],
      "// process.env.OLD\nconst { ISSUER, AUDIENCE: audience } = process.env;\nexport default { providers: [{ domain: ISSUER }] };",
      ["ISSUER", "AUDIENCE"],
    ],
    ["a leftover of Convex Auth next to Clerk", ["@convex-dev/auth"], CLERK, ["CLERK_JWT_ISSUER_DOMAIN"]],
  ])("requires the variables that auth.config reads, and no others: %s", async (_, packages, config, names) => {
    depend(...packages);
    put("convex/auth.config.ts", config);
    const ailments = await examine();
    expect(ailments.map(({ cure }) => cure)).toEqual(names.map((name) => setting(name)));
    expect(ailments[0]?.symptom).toBe(
      `${app}/convex/auth.config.ts reads ${names[0]}, but the deployment does not have this variable`,
    );
    expect(await examine(names)).toEqual([]);
    expect(await examine(names, app, "")).toEqual(ailments);
  });

  it.each(["convex/auth.config.ts", "convex/auth.config.js"])(
    "requires Convex Auth's keys if the app uses it: %s",
    async (file) => {
      depend("@convex-dev/auth");
      put(file, CONVEX_AUTH);
      const [ailment, ...others] = await examine();
      expect(others).toEqual([]);
      expect(ailment?.symptom).toContain("has no JWT_PRIVATE_KEY and no JWKS");
      expect(ailment?.cure).toBe("npx pulumi config set --stack dev authKeys true && npx pulumi up --stack dev");
      expect(await examine(["JWKS", "JWT_PRIVATE_KEY"])).toEqual([]);
    },
  );

  it("requires Better Auth's secret, and not Convex Auth's keys", async () => {
    depend("@convex-dev/better-auth", "better-auth");
    put(
      "convex/auth.config.ts",
      'import { getAuthConfigProvider } from "@convex-dev/better-auth/auth-config";\nexport default { providers: [getAuthConfigProvider()] };',
    );
    expect((await examine()).map(({ cure }) => cure)).toEqual([
      setting("BETTER_AUTH_SECRET", '"$(openssl rand -base64 32)" --secret'),
    ]);
    expect(await examine(["BETTER_AUTH_SECRET"])).toEqual([]);
  });

  it("finds auth.config in the folder that convex.json names, and the variables that its imported modules read", async () => {
    put("convex.json", '{"functions":"src/backend/"}');
    put("src/backend/auth.config.ts", 'import { domain } from "../env";\nexport default { providers: [{ domain }] };');
    put("src/env.ts", "export const domain = process.env.CLERK_FRONTEND_API_URL;");
    expect((await examine()).map(({ cure }) => cure)).toEqual([setting("CLERK_FRONTEND_API_URL")]);
  });

  it("requires nothing if the providers are literal values", async () => {
    put("convex/auth.config.ts", 'export default { providers: [{ domain: "https://acme.eu.auth0.com" }] };');
    expect(await examine()).toEqual([]);
  });
});
