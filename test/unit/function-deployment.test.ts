import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";

import * as pulumi from "@pulumi/pulumi";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";

import { type FunctionSource, functionsOf } from "../../components/function-deployment.ts";
import { AppPackage } from "../../functions/app-package.ts";
import { cliEnvironment, prove } from "../../functions/push.ts";
import { CONVEX_CLI, find } from "../../examples/app-repo/scripts/target/environment.ts";
import { RIVALS } from "../../examples/app-repo/scripts/target/rivals.ts";
import { beforeCreate, configure, dependencies, mistakesOf, mockEngine, options, type Registered } from "./program.ts";

/** The engine protocol's mark of a secret. */
const SIGNATURE = "4dabf18193072939515e22adb298388d";
const KEY = "convex-self-hosted|01ab";

class Other extends pulumi.CustomResource {}

let registered: Registered[];

beforeEach(async () => {
  configure();
  registered = await mockEngine();
});

describe("functionsOf", () => {
  const deploy = async (functionPackage: string) => {
    const droplet = new Other("test:index:Other", "droplet");
    const volume = new Other("test:index:Other", "volume");
    const source: FunctionSource = {
      fingerprint: () => "f00d",
      refuse: () => undefined,
      push: () => Promise.resolve(),
    };
    functionsOf("convex", {
      connection: pulumi.secret({ host: "192.0.2.1" }),
      apiPort: 4210,
      instanceName: "swarm",
      adminKey: pulumi.secret(KEY),
      functionPackage,
      functionProbe: "health:ping",
      source,
      after: [new Other("test:index:Other", "variables")],
      onMachine: { deletedWith: droplet, replaceWith: [droplet] },
      onVolume: { deletedWith: droplet, replaceWith: [volume] },
    });
    await pulumi.runtime.disconnect();
    return registered.filter(({ type }) => !type.startsWith("test:"));
  };

  it("registers nothing without a package", async () => {
    expect(await deploy("")).toEqual([]);
  });

  it("registers the probe, with the key on stdin as a secret, replaced if the package changes", async () => {
    const [component, probe, ...others] = await deploy("../app");
    expect([component?.name, probe?.name, others]).toEqual(["convex", "convex-functions", []]);
    const { create, stdin, triggers, delete: remove } = (probe?.inputs ?? {}) as Record<string, unknown>;
    expect(create).toMatch(/^bash \/usr\/local\/lib\/convex-droplet\/functions\/probe\.sh # [0-9a-f]{12}$/);
    expect(stdin).toHaveProperty(SIGNATURE);
    expect((stdin as { value: string }).value).toBe(`port=4210\nkey=${KEY}\nprobe=health:ping\n`);
    expect([triggers, remove]).toEqual([["f00d"], undefined]);
    expect(options.get("convex-functions Command")).toMatchObject({
      parent: "FunctionDeployment",
      deletedWith: "droplet",
      replaceWith: ["volume"],
    });
    expect(dependencies.get("convex-functions Command")).toContain("variables");
  });

  it("checks the package before it deploys it", async () => {
    await deploy("../app");
    expect(beforeCreate.get("convex-functions Command")).toEqual(["convex-functions-package", "convex-functions-push"]);
  });
});

describe("the settings of functions", () => {
  it("are a package, and a query in a module", () => {
    expect(mistakesOf({ functionPackage: "../app", functionProbe: "lib/health:ping" })).toEqual([]);
    expect(mistakesOf({ functionPackage: "../app", functionProbe: "health.ping" })).toEqual([
      'convex-droplet:functionProbe: "health.ping" is not valid, it should be a module and a query, such as health:ping. Set it with: npx pulumi config set --stack test functionProbe health:ping',
    ]);
  });

  it("refuse a probe without a package", () => {
    expect(mistakesOf({ functionProbe: "health:ping" })).toEqual([
      "convex-droplet:functionProbe: has no effect without functionPackage, it should come with it. " +
        "Set the package with: npx pulumi config set --stack test functionPackage ../app, or remove this with: npx pulumi config rm --stack test functionProbe",
    ]);
  });
});

describe("an app's package", () => {
  let root: string;
  let app: string;

  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), "app-package-"));
    onTestFinished(() => {
      rmSync(root, { recursive: true });
    });
    app = path.join(root, "packages/backend");
    put("pnpm-lock.yaml");
    put("packages/backend/package.json", '{"dependencies":{"convex":"1.48.0"}}');
    put("packages/backend/convex/messages.ts");
    install("1.48.0");
  });

  function put(file: string, text = ""): void {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    writeFileSync(path.join(root, file), text);
  }

  function install(version: string): void {
    put("node_modules/convex/package.json", JSON.stringify({ version }));
  }

  function refusal(): string[] {
    try {
      new AppPackage(app).refuse();
      return [];
    } catch (error) {
      return (error as Error).message.split("\n");
    }
  }

  const fingerprint = () => new AppPackage(app).fingerprint();

  it("is accepted with its functions, a CLI and a lockfile, also those of its workspace", () => {
    expect(refusal()).toEqual([]);
  });

  it("is found from this checkout, in whatever folder the program runs", () => {
    expect(new AppPackage("examples/app-repo").folder).toBe(
      path.resolve(import.meta.dirname, "../../examples/app-repo"),
    );
  });

  it("is refused if it is missing", () => {
    rmSync(app, { recursive: true });
    expect(refusal()).toEqual([
      `convex-droplet:functionPackage: ${app}: is missing, it should be the folder of the package with the app's functions. ` +
        "Clone the app there, or set its folder with: npx pulumi config set --stack test functionPackage FOLDER; " +
        "or leave the functions as they are in this run, with: npx pulumi up --stack test --exclude '**convex-functions'",
    ]);
  });

  it("is refused without an installed CLI, with the command of its package manager", () => {
    rmSync(path.join(root, "node_modules"), { recursive: true });
    expect(refusal()).toEqual([
      `convex-droplet:functionPackage: convex: is installed neither here nor in a folder above, it should be. Run: cd ${app} && pnpm install`,
    ]);
  });

  it("is refused with a release that cannot deploy, and without a lockfile, both at once", () => {
    install("1.29.2");
    rmSync(path.join(root, "pnpm-lock.yaml"));
    expect(refusal()).toEqual([
      "convex-droplet:functionPackage: convex: 1.29.2 is broken (it calls evaluate_push, and backends of that time answer with 404), " +
        `it should be another. Run: cd ${app} && npm install --save-exact convex@1.48.0`,
      `convex-droplet:functionPackage: ${app}: has no lockfile, here or above, it should have one, which pins the CLI. Run: cd ${app} && npm install`,
    ]);
  });

  it("is refused if it is another folder of a monorepo, with the right one", () => {
    put("package.json", "{}");
    app = root;
    expect(refusal()).toEqual([
      expect.stringMatching(
        /functionPackage: .*\/package\.json: does not list convex, it should be the package that the functions belong to\. Set it with: npx pulumi config set --stack test functionPackage \.\..*\/packages\/backend$/,
      ),
    ]);
  });

  it("is refused if Yarn keeps its packages in archives, which the CLI cannot be started from", () => {
    put(".pnp.cjs");
    expect(refusal()).toEqual([
      `convex-droplet:functionPackage: ${app}: has its packages in Yarn's Plug'n'Play, they should be in node_modules. ` +
        `Run: cd ${app} && yarn config set nodeLinker node-modules && yarn install`,
    ]);
  });

  describe.each(["in git", "without git"])("%s", (where) => {
    beforeEach(() => {
      if (where === "in git") execFileSync("git", ["init", "--quiet"], { cwd: root });
    });

    it.each([
      "packages/backend/convex/messages.ts",
      "packages/backend/convex/new/module.tsx",
      "packages/backend/convex.json",
      "packages/backend/package.json",
      "pnpm-lock.yaml",
      "packages/shared/index.mjs",
    ])("has another fingerprint if %s changes", (file) => {
      const before = fingerprint();
      expect(fingerprint()).toBe(before);
      put(file, "{ }");
      expect(fingerprint()).not.toBe(before);
    });

    it.each([
      "packages/backend/convex/_generated/api.js",
      "packages/backend/.env.local",
      "packages/backend/.next/server.js",
      "node_modules/convex/index.js",
      "README.md",
    ])("has the same fingerprint if %s changes", (file) => {
      const before = fingerprint();
      put(file, "{ }");
      expect(fingerprint()).toBe(before);
    });
  });

  it("has the same fingerprint if something changes that git ignores", () => {
    execFileSync("git", ["init", "--quiet"], { cwd: root });
    put(".gitignore", "dist\n");
    const before = fingerprint();
    put("packages/backend/dist/index.js", "built");
    expect(fingerprint()).toBe(before);
  });

  it("has a fingerprint of its files if git ignores all of them, as those of a copy in another repository", () => {
    execFileSync("git", ["init", "--quiet"], { cwd: root });
    put(".gitignore", "*\n");
    const before = fingerprint();
    put("packages/backend/convex/messages.ts", "changed");
    expect(fingerprint()).not.toBe(before);
  });

  it("has a fingerprint of its own if it is missing, so that `up` fails", () => {
    const before = fingerprint();
    rmSync(app, { recursive: true });
    expect(fingerprint()).toBe("missing");
    expect(before).not.toBe("missing");
  });
});

describe("the CLI's environment", () => {
  it("contains the target and none of the run's own secrets", () => {
    const shell = {
      PATH: "/bin",
      HOME: "/root",
      PULUMI_CONFIG_PASSPHRASE: "s3cret",
      CONVEX_DEPLOY_KEY: "prod:else|01",
    };
    expect(cliEnvironment(shell, "http://127.0.0.1:4000", KEY)).toEqual({
      PATH: "/bin",
      HOME: "/root",
      CI: "1",
      CONVEX_DEPLOY_KEY: "",
      CONVEX_DEPLOYMENT_TOKEN: "",
      CONVEX_DEPLOYMENT: "",
      CONVEX_SELF_HOSTED_URL: "http://127.0.0.1:4000",
      CONVEX_SELF_HOSTED_ADMIN_KEY: KEY,
    });
  });

  it("hides what the app's files say about other deployments", () => {
    const folder = mkdtempSync(path.join(tmpdir(), "app-files-"));
    onTestFinished(() => {
      rmSync(folder, { recursive: true });
    });
    const names = [...Object.keys(RIVALS), "CONVEX_SELF_HOSTED_URL", "CONVEX_SELF_HOSTED_ADMIN_KEY"];
    writeFileSync(path.join(folder, ".env.local"), names.map((name) => `${name}=else\n`).join(""));
    const shell = cliEnvironment({}, "http://127.0.0.1:4000", KEY);
    for (const name of names) expect(find(folder, name, CONVEX_CLI, shell)?.value, name).not.toBe("else");
  });
});

describe("the proof of the target", () => {
  /** A backend of this name that accepts this key. */
  async function backend(name: string, key: string): Promise<string> {
    const server = createServer((request, response) => {
      if (request.url === "/instance_name") {
        response.end(name);
        return;
      }
      response.statusCode = request.headers.authorization === `Convex ${key}` ? 200 : 401;
      response.end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => {
      server.close();
    });
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  it("accepts the instance with the name and the key of the stack", async () => {
    await expect(prove(await backend("swarm", KEY), "swarm", KEY)).resolves.toBeUndefined();
  });

  it.each([
    ["another name", "other", KEY, 'is instance "other", it should be swarm'],
    ["another secret", "swarm", "swarm|02", "refuses the stack's admin key (401), it should accept it"],
  ])("refuses an instance with %s, and shows no key", async (_, name, key, reason) => {
    await expect(prove(await backend(name, key), "swarm", KEY)).rejects.toThrow(
      new Error(
        `the backend: ${reason}, so no functions were deployed. Find out why with: npm run doctor -- --stack test`,
      ),
    );
  });

  it("refuses a backend that does not answer", async () => {
    await expect(prove("http://127.0.0.1:1", "swarm", KEY)).rejects.toThrow(
      "the backend: does not answer on the droplet, so no functions were deployed.",
    );
  });
});
