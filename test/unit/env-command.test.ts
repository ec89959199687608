import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { writeEnvironment } from "../../operations/env/command.ts";
import { State } from "../../operations/state.ts";

const KEY = "convex-self-hosted|01abcdef";
let outputs: Record<string, unknown>;
let app: string;
let said: string;

beforeEach(() => {
  app = mkdtempSync(path.join(tmpdir(), "env-command-"));
  outputs = {
    backendUrl: "https://api.example.com",
    siteUrl: "https://site.example.com",
    dashboardUrl: "http://127.0.0.1:6791",
    adminKey: KEY,
  };
  said = "";
  const stack = { type: "pulumi:pulumi:Stack", name: "dev", id: "", inputs: {} };
  vi.spyOn(State, "read").mockImplementation(() => Promise.resolve(new State("dev", [{ ...stack, outputs }])));
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    said += String(text);
    return true;
  });
  vi.spyOn(process.stdout, "write").mockReturnValue(true);
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(app, { recursive: true });
});

function put(file: string, text = ""): void {
  mkdirSync(path.dirname(path.join(app, file)), { recursive: true });
  writeFileSync(path.join(app, file), text);
}

function depend(name: string): void {
  put("package.json", JSON.stringify({ dependencies: { [name]: "*" } }));
}

const read = (file: string) => readFileSync(path.join(app, file), "utf8");

/** The error message, as a user would see it; empty if the command succeeds. */
async function run(...args: string[]): Promise<string> {
  return writeEnvironment(["--stack", "dev", ...args]).then(
    () => "",
    (error: unknown) => (error as Error).message,
  );
}

/** Runs a command that this program printed. */
const follow = (command: string) => run(...command.slice(command.indexOf("--stack dev ") + 12).split(" "));

describe("env, if another place wins for the Convex CLI", () => {
  it("names a stale .env.local next to .env, and a command that changes it", async () => {
    depend("nuxt");
    put(".env.local", "# old\nCONVEX_SELF_HOSTED_URL=http://old:3210\n");
    const refusal = await run("--file", app);
    const command = `npm run env -- --stack dev --file ${app}/.env.local`;
    expect(refusal).toBe(
      `${app}/.env.local:2: sets CONVEX_SELF_HOSTED_URL, it should not, because it wins over ${app}/.env. Run: ${command}`,
    );
    expect(await follow(command)).toBe("");
    expect(await run("--file", app)).toBe("");
    expect(read(".env.local")).toContain("CONVEX_SELF_HOSTED_URL=https://api.example.com\n");
  });

  it.each(["CONVEX_SELF_HOSTED_URL", "CONVEX_SELF_HOSTED_ADMIN_KEY"])(
    "names the shell that exports %s",
    async (name) => {
      vi.stubEnv(name, "http://old:3210");
      const refusal = await run("--file", app);
      expect(refusal).toContain(`the shell's environment: sets ${name}, it should not`);
      const cure = refusal.slice(refusal.indexOf("Run: ") + 5);
      expect(cure).toBe(`unset ${name}`);
      expect(execFileSync("sh", ["-c", `${cure}; env`], { encoding: "utf8" })).not.toContain(`${name}=`);
    },
  );

  it("refuses a shell with variables of Convex's cloud, before it writes", async () => {
    vi.stubEnv("CONVEX_DEPLOY_KEY", "prod:happy-otter-1|secret");
    expect(await run("--file", app)).toMatch(
      /^the shell's environment: sets CONVEX_DEPLOY_KEY, .* Run: unset CONVEX_DEPLOY_KEY$/,
    );
    expect(() => read(".env.local")).toThrow("ENOENT");
  });

  it("prints the option that the CLI needs to read a file with another name", async () => {
    expect(await run("--file", `${app}/.env.staging`)).toBe("");
    expect(said).toContain(`npx convex deploy --env-file ${app}/.env.staging\n`);
  });
});

describe("env, if the app reads its URL from another place", () => {
  it.each([
    ["vite", ".env.production", "VITE_CONVEX_URL", "in production"],
    ["next", ".env.development.local", "NEXT_PUBLIC_CONVEX_URL", "in development"],
  ])("%s: reports %s", async (framework, file, name, when) => {
    depend(framework);
    put(file, `${name}=http://old:3210\n`);
    expect(await run("--file", app)).toBe("");
    expect(said).toContain(`${app}/${file}:1: sets ${name}, which wins over ${app}/.env.local ${when}. `);
    expect(said).toContain(`write there: ${name}=https://api.example.com\n`);
  });

  it("reports a framework that does not read the CLI's file", async () => {
    depend("gatsby");
    expect(await run("--file", app)).toBe("");
    expect(said).toContain(
      `${app}/.env.local: is not read for GATSBY_CONVEX_URL, the framework reads only .env.development and .env.production. Write there: GATSBY_CONVEX_URL=https://api.example.com\n`,
    );
  });
});

describe("env, with an unknown framework", () => {
  it.each(["@angular/core", "ember-source", "parcel", "@remix-run/dev"])(
    "warns that the variables do not reach a browser: %s",
    async (name) => {
      depend(name);
      expect(await run("--file", app)).toBe("");
      expect(said).toContain("CONVEX_URL and CONVEX_SITE_URL do not reach a browser bundle");
      const command = said.slice(said.indexOf("npm run env")).trim();
      expect(command).toMatch(/ --prefix PUBLIC_$/);
      said = "";
      expect(await follow(command)).toBe("");
      expect(said).toContain("added PUBLIC_CONVEX_URL, PUBLIC_CONVEX_SITE_URL");
      expect(said).not.toContain("browser bundle");
    },
  );

  it("uses a given prefix instead of the framework's own, and refuses an invalid one", async () => {
    depend("vite");
    expect(await run("--file", app, "--prefix", "PUBLIC_")).toBe("");
    expect(read(".env.local")).toMatch(/^PUBLIC_CONVEX_SITE_URL=/m);
    expect(read(".env.local")).not.toContain("VITE_");
    for (const prefix of ["PUBLIC", "A B_", "1_", "X=_"]) {
      expect(await run("--file", app, "--prefix", prefix)).toContain(
        `--prefix: ${prefix} is not the start of a variable's name`,
      );
    }
  });
});

describe("env, with a further database", () => {
  const [NEAR, FAR] = ["127.0.0.1:15432", "host.docker.internal:5432"];
  const url = (at: string, role: string, name: string, mode: string) =>
    `postgresql://${role}:s3cret@${at}/${name}?sslmode=${mode}`;
  beforeEach(() => {
    outputs["databaseUrls"] = {
      app: url(FAR, "app", "app", "require"),
      app_shadow: url(FAR, "app", "app_shadow", "require"),
      // Not a shadow, but another database.
      other: url(FAR, "other", "other", "require"),
      other_shadow: url(FAR, "other_shadow", "other_shadow", "require"),
    };
  });

  it("also writes the URLs of the database and its shadow through the tunnel, and shows no password", async () => {
    // Messages about variables that another place overrides contain their values.
    depend("vite");
    put(".env", "DATABASE_URL=postgresql://me@elsewhere/app\n");
    expect(await run("--file", app, "--database", "app")).toBe("");
    expect(read(".env.local")).toContain(url(NEAR, "app", "app", "disable"));
    expect(read(".env.local")).toMatch(/^SHADOW_DATABASE_URL=.*\/app_shadow\?sslmode=disable/m);
    expect(said).toContain("Those of the database work while the tunnel is open: npm run tunnel -- --stack dev");
    expect(said).not.toContain("s3cret");
    expect(await run("--file", app, "--database", "other")).toBe("");
    expect(read(".env.local")).toContain(url(NEAR, "other", "other", "disable"));
  });

  it("tells of a shadow in the file that is another database's", async () => {
    await run("--file", app, "--database", "app");
    expect(said).not.toContain("has no shadow");
    await run("--file", app, "--database", "other");
    expect(said).toContain(
      "sets SHADOW_DATABASE_URL, but database other has no shadow. Remove it, because it leads to another database.",
    );
  });

  it("refuses a database that the stack does not have", async () => {
    expect(await run("--file", app, "--database", "app_shadow")).toBe(
      "--database: app_shadow is not a database of the stack, it should be one of app, other, other_shadow.",
    );
    delete outputs["databaseUrls"];
    expect(await run("--file", app, "--database", "app")).toBe(
      "--database: app is not a database of the stack, it should be one of the setting databases, which is empty.",
    );
  });

  it("in a CI job needs the tunnel, and masks the password", async () => {
    vi.stubEnv("GITHUB_ENV", path.join(app, "github"));
    const printed = vi.spyOn(process.stdout, "write").mockReturnValue(true);
    const refusal = await run("--ci", "github", "--database", "app");
    expect(refusal).toContain(
      "--database: leads to the stack's tunnel, it should come with --tunnel. Open npm run tunnel",
    );
    expect(await follow(refusal.slice(refusal.indexOf("then run: ")))).toBe("");
    expect(read("github")).toContain(url(NEAR, "app", "app_shadow", "disable"));
    expect(printed.mock.calls.map(([text]) => String(text))).toEqual([`::add-mask::${KEY}\n`, "::add-mask::s3cret\n"]);
  });
});

describe("env, for a CI job", () => {
  beforeEach(() => {
    vi.stubEnv("GITHUB_ENV", path.join(app, "github"));
  });

  it.each([
    ["backendUrl", "http://127.0.0.1:3210"],
    ["siteUrl", "http://localhost:3211"],
    ["backendUrl", "http://[::1]:3210"],
  ])("refuses URLs that lead a runner to itself, except with --tunnel: %s %s", async (name, url) => {
    outputs = { ...outputs, [name]: url };
    const refusal = await run("--ci", "github");
    expect(refusal).toContain(
      `${name}: is ${url}, which leads a runner to itself, it should be a URL that the runner reaches. `,
    );
    expect(refusal).toContain("--path 'allowedCidrs[0]' NETWORK");
    expect(() => read("github")).toThrow("ENOENT");
    expect(await follow(refusal.slice(refusal.indexOf("then run: ")))).toBe("");
    expect(read("github")).toContain(url);
  });

  it("accepts other URLs", async () => {
    expect(await run("--ci", "github")).toBe("");
    expect(read("github")).toContain("https://api.example.com");
  });
});
