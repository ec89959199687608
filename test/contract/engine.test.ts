import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";

import { runPulumi } from "../../contract/run-pulumi.ts";
import { npmVersion } from "../../sandbox/engine/npm-version.ts";
import { originalLanguageHost } from "../../sandbox/engine/originals.ts";
import { describeEngine, layOutPulumiHome, PROVIDERS, pulumiEnvironment } from "../../sandbox/engine/pulumi-home.ts";
import { sandboxHome } from "../../sandbox/home.ts";
import type { SandboxHome } from "../../sandbox/home.ts";
import { endProcessesOf, processesOf } from "../../sandbox/engine/processes.ts";
import { waitFor } from "../../sandbox/wait-for.ts";

/** The first run on a computer builds the CLI. */
const BUILD_TIMEOUT = 1_200_000;

const COMPONENT_PROGRAM = `
import * as pulumi from "@pulumi/pulumi";

interface Greeting { text: string }

class Greeter extends pulumi.ComponentResource {
  readonly greeting: pulumi.Output<Greeting>;
  constructor(name: string, opts?: pulumi.ComponentResourceOptions) {
    super("tiny:index:Greeter", name, {}, opts);
    this.greeting = pulumi.output({ text: "good day" });
    this.registerOutputs({ greeting: this.greeting });
  }
}

const config = new pulumi.Config();
export const greeting = new Greeter("greeter").greeting.text;
export const size = config.require("size");
export const password = config.requireSecret("password");
console.log("to stdout from " + pulumi.getOrganization() + "/" + pulumi.getProject() + "/" + pulumi.getStack());
console.error("to stderr");
`;

let home: SandboxHome;
let project: string;

beforeAll(async () => {
  const root = await mkdtemp(path.join(tmpdir(), "convex-droplet-engine-"));
  home = sandboxHome(root);
  await layOut();
  return () => rm(root, { recursive: true, force: true });
}, BUILD_TIMEOUT);

beforeEach(async () => {
  project = await mkdtemp(path.join(home.root, "project-"));
  const runtime = { name: "nodejs", options: { typescript: false } };
  // YAML is a superset of JSON. The project's name is always new, so that no test finds another test's stack.
  const name = `tiny-${path.basename(project).slice("project-".length)}`;
  await writeFile(path.join(project, "Pulumi.yaml"), JSON.stringify({ name, runtime, main: "index.ts" }));
  await writeFile(
    path.join(project, "package.json"),
    JSON.stringify({ name: "tiny", version: "1.0.0", type: "module" }),
  );
  await symlink(path.resolve("node_modules"), path.join(project, "node_modules"));
});

afterEach(() => endProcessesOf(home));

/** These tests are for the language host: the project's, or the official one if the environment names it. */
function layOut(): Promise<string> {
  return layOutPulumiHome(home, (text) => void process.stderr.write(`${text}\n`), "stand-in");
}

function pulumi(...args: string[]) {
  const env = pulumiEnvironment(home);
  return execa("pulumi", [...args, "--non-interactive", "--color=never"], {
    cwd: project,
    env,
    reject: false,
    all: true,
    stdin: "ignore",
  });
}

async function writeProgram(text: string): Promise<void> {
  await writeFile(path.join(project, "index.ts"), text);
}

async function initStack(): Promise<void> {
  for (const args of [
    ["stack", "init", "dev"],
    ["config", "set", "size", "big"],
    ["config", "set", "--secret", "password", "hush-hush"],
  ]) {
    const result = await pulumi(...args);
    expect(result.exitCode, result.all).toBe(0);
  }
}

const isOriginal = originalLanguageHost() !== undefined;

/** An `it` that only makes sense for the project's language host, not for the official one. */
function ours(reason: string) {
  return (title: string, test: () => Promise<void>) => {
    if (isOriginal) it.skip(`${title} [the stand-in's only: ${reason}]`, test);
    else it(title, test);
  };
}

async function expectNoProcesses(): Promise<void> {
  expect(await processesOf(home)).toEqual([]);
}

describe("a program", () => {
  it("runs from the first up to destroy, and shows no change if there is none", async () => {
    await writeProgram(COMPONENT_PROGRAM);
    await initStack();

    const preview = await pulumi("preview", "--expect-no-changes");
    expect(preview.exitCode).toBe(7);
    expect(preview.all).toMatch(/\+ 2 to create/);

    const up = await pulumi("up", "--yes");
    expect(up.exitCode, up.all).toBe(0);
    expect(up.all).toMatch(/\+ 2 created/);
    expect(up.all).toMatch(/to stdout from organization\/tiny-\w+\/dev/);
    expect(up.all).toContain("to stderr");
    expect(up.all).not.toContain("hush-hush");
    expect(up.all).not.toContain("warning");

    for (const args of [
      ["up", "--yes", "--skip-preview", "--expect-no-changes"],
      ["preview", "--refresh", "--expect-no-changes"],
      ["refresh", "--yes", "--skip-preview", "--expect-no-changes"],
      ["refresh", "--yes", "--skip-preview", "--expect-no-changes", "--run-program=false"],
    ]) {
      const result = await pulumi(...args);
      expect(result.exitCode, result.all).toBe(0);
      expect(result.all).toMatch(/2 unchanged/);
      expect(result.all.includes("to stdout"), args.join(" ")).toBe(!args.includes("--run-program=false"));
    }

    const outputs = await pulumi("stack", "output", "--json", "--show-secrets");
    expect(JSON.parse(outputs.stdout)).toEqual({ greeting: "good day", size: "big", password: "hush-hush" });
    const hidden = await pulumi("stack", "output", "--json");
    expect(JSON.parse(hidden.stdout)).toEqual({ greeting: "good day", size: "big", password: "[secret]" });
    const config = await pulumi("config", "get", "password");
    expect(config.stdout).toBe("hush-hush");

    const destroy = await pulumi("destroy", "--yes", "--skip-preview");
    expect(destroy.exitCode, destroy.all).toBe(0);
    expect(destroy.all).toMatch(/- 2 deleted/);
    expect(destroy.all).toContain("to stdout");
    await expectNoProcesses();
  });

  it("can be destroyed without a run of the program", async () => {
    await writeProgram(COMPONENT_PROGRAM);
    await initStack();
    const up = await pulumi("up", "--yes", "--skip-preview");
    expect(up.exitCode, up.all).toBe(0);
    await writeProgram("throw new Error('must not run');");
    const destroy = await pulumi("destroy", "--yes", "--skip-preview", "--run-program=false");
    expect(destroy.exitCode, destroy.all).toBe(0);
    expect(destroy.all).toMatch(/- 2 deleted/);
  });
});

describe("a mistake in a program", () => {
  it.each([
    {
      wrong: "an exception, with its stack",
      program: `import "@pulumi/pulumi";\nfunction fail() { throw new Error("bad luck"); }\nfail();`,
      shown: [
        /error: Running program '.*\/index\.ts' failed with an unhandled exception:\s+Error: bad luck/,
        /index\.ts:2:\d+/,
      ],
      notShown: /non-zero exit code/,
    },
    {
      wrong: "a user's mistake, without a stack",
      program: `import { RunError } from "@pulumi/pulumi";\nthrow new RunError("size: 3 is too small, should be 4");`,
      shown: [/error: size: 3 is too small, should be 4\n/],
      notShown: /unhandled exception|non-zero exit code|\bat /,
    },
    {
      wrong: "a syntax error in TypeScript, at its line",
      program: `const good: number = 1;\nconst bad: number = ;\n`,
      shown: [
        /failed with an unhandled exception:\s+.*index\.ts:2\n.*\n\s+const bad: number = ;/,
        /SyntaxError: Expression expec/,
      ],
      notShown: /non-zero exit code/,
    },
    {
      wrong: "TypeScript that Node cannot run",
      program: `enum Size { small, big }\nexport const size = Size.big;\n`,
      shown: [/SyntaxError: TypeScript enum is not supported in strip-only mode/],
      notShown: /non-zero exit code/,
    },
    {
      wrong: "a missing package",
      program: `import "no-such-package";`,
      shown: [/Cannot find package 'no-such-package'/],
      notShown: /non-zero exit code/,
    },
    {
      wrong: "an exit code of its own",
      program: `process.exit(3);`,
      shown: [/error: an unhandled error occurred: Program exited with non-zero exit code: 3\n/],
      notShown: /unhandled exception/,
    },
  ])("is shown to the user: $wrong", async ({ program, shown, notShown }) => {
    await writeProgram(program);
    const init = await pulumi("stack", "init", "dev");
    expect(init.exitCode, init.all).toBe(0);
    const preview = await pulumi("preview");
    expect(preview.exitCode).not.toBe(0);
    for (const text of shown) expect(preview.all).toMatch(text);
    expect(preview.all).not.toMatch(notShown);
  });

  it("can be that its packages are not installed", async () => {
    await writeProgram(COMPONENT_PROGRAM);
    await initStack();
    await rm(path.join(project, "node_modules"));
    const preview = await pulumi("preview");
    expect(preview.exitCode).not.toBe(0);
    expect(preview.all).toContain("the Pulumi SDK has not been installed. Have you run pulumi install?");
  });
});

describe("a policy pack", () => {
  const PACK = `
import * as pulumi from "@pulumi/pulumi";
import { PolicyPack } from "@pulumi/policy";
import { level } from "./level.ts";

const size = new pulumi.Config("tiny").get("size");
new PolicyPack("tiny", {
  policies: [{
    name: "no-greeter",
    description: "Nobody is greeted.",
    enforcementLevel: level,
    validateResource: (args, report) => {
      if (args.type === "tiny:index:Greeter") report(pulumi.getStack() + " is " + size);
    },
  }],
});
`;

  async function writePack(level: string): Promise<void> {
    const folder = path.join(project, "policy");
    await mkdir(folder, { recursive: true });
    await writeFile(path.join(folder, "PulumiPolicy.yaml"), "runtime: nodejs\n");
    const manifest = { name: "tiny-policy", version: "1.0.0", type: "module", main: "index.js" };
    await writeFile(path.join(folder, "package.json"), JSON.stringify(manifest));
    await writeFile(
      path.join(folder, "index.js"),
      PACK.replace('Config("tiny")', `Config("${path.basename(project).replace("project", "tiny")}")`),
    );
    await writeFile(path.join(folder, "level.ts"), `export const level: string = ${JSON.stringify(level)};\n`);
  }

  it("knows the stack and its configuration, and refuses or warns", async () => {
    await writeProgram(COMPONENT_PROGRAM);
    await initStack();
    await writePack("mandatory");
    const refused = await pulumi("up", "--yes", "--skip-preview", "--policy-pack", "policy");
    expect(refused.exitCode, refused.all).not.toBe(0);
    expect(refused.all).toMatch(/\[mandatory\]\s+no-greeter.*\n\s+Nobody is greeted\.\n\s+dev is big\n/);
    await writePack("advisory");
    const warned = await pulumi("up", "--yes", "--skip-preview", "--policy-pack", "policy");
    expect(warned.exitCode, warned.all).toBe(0);
    expect(warned.all).toContain("[advisory]");
    await expectNoProcesses();
  });

  it("that cannot be started lets the run fail with the reason", async () => {
    await writeProgram(COMPONENT_PROGRAM);
    await initStack();
    await writePack("mandatory");
    const broken = "export const level: string = undefined.nothing;\n";
    await writeFile(path.join(project, "policy", "level.ts"), broken);
    const refused = await pulumi("preview", "--policy-pack", "policy");
    expect(refused.exitCode).not.toBe(0);
    expect(refused.all).toContain("Cannot read properties of undefined (reading 'nothing')");
    await expectNoProcesses();
  });
});

describe("an interrupted run", () => {
  const endless = (atInterrupt: string) => `
import * as pulumi from "@pulumi/pulumi";
import { writeFileSync } from "node:fs";
new pulumi.ComponentResource("tiny:index:Nothing", "nothing");
process.on("SIGINT", () => { writeFileSync("interrupted", ""); ${atInterrupt} });
setInterval(() => {}, 1000);
writeFileSync("started", String(process.pid));
await new Promise(() => {});
`;

  async function startEndlessUp(atInterrupt: string) {
    await writeProgram(endless(atInterrupt));
    await initStack();
    const up = pulumi("up", "--yes", "--skip-preview");
    await waitFor("the program to start", 60, () => stat(path.join(project, "started")));
    // Wrapped in an object, because awaiting a subprocess waits for its end.
    return { up };
  }

  async function expectNextUpToWork(): Promise<void> {
    await writeProgram(COMPONENT_PROGRAM);
    const up = await pulumi("up", "--yes", "--skip-preview");
    expect(up.exitCode, up.all).toBe(0);
    const outputs = await pulumi("stack", "output", "size");
    expect(outputs.stdout).toBe("big");
  }

  it.each([
    ["ends the program at once", "process.exit(0);", 10],
    ["kills a program that does not listen", "", 20],
  ])("by Ctrl-C %s and leaves nothing behind", async (_how, atInterrupt, seconds) => {
    const { up } = await startEndlessUp(atInterrupt);
    const interrupted = Date.now();
    up.kill("SIGINT");
    const { exitCode, all } = await up;
    expect(exitCode, all).not.toBe(0);
    expect(Date.now() - interrupted).toBeLessThan(seconds * 1000);
    await stat(path.join(project, "interrupted"));
    await expectNoProcesses();
    await expectNextUpToWork();
  });

  it("by the death of the CLI leaves nothing behind but a lock, which the next run releases", async () => {
    const { up } = await startEndlessUp("");
    up.kill("SIGKILL");
    await up;
    // The official language host checks for the engine every five minutes only.
    if (isOriginal) await endProcessesOf(home);
    await waitFor("all processes to end", 10, expectNoProcesses);

    const locked = await pulumi("up", "--yes", "--skip-preview");
    expect(locked.all).toContain("the stack is currently locked by 1 lock(s)");
    await writeProgram(COMPONENT_PROGRAM);
    const place = { cwd: project, env: { ...process.env, ...pulumiEnvironment(home) } };
    const next = await runPulumi("pulumi", ["up", "--yes", "--skip-preview", "--non-interactive"], place);
    expect(next.exitCode, next.errors).toBe(0);
    await expectNextUpToWork();
  });
});

describe("the CLI's other commands", () => {
  ours("the original names those of package.json that npm finds")(
    "about names the Node that runs programs and the packages of the lock file",
    async () => {
      await writeProgram(COMPONENT_PROGRAM);
      const manifest = { name: "tiny", version: "1.0.0", type: "module", dependencies: { "left-pad": "1.3.0" } };
      await writeFile(path.join(project, "package.json"), JSON.stringify(manifest));
      const packages = {
        "": manifest,
        "node_modules/left-pad": { version: "1.3.0" },
        "node_modules/x": { version: "2.0.0" },
      };
      await writeFile(path.join(project, "package-lock.json"), JSON.stringify({ lockfileVersion: 3, packages }));
      const about = await execa("pulumi", ["about", "--json"], { cwd: project, env: pulumiEnvironment(home) });
      expect(JSON.parse(about.stdout)).toMatchObject({
        cliAbout: { version: npmVersion("@pulumi/pulumi") },
        runtime: { language: "nodejs", executable: process.execPath, version: process.version },
        dependencies: [{ name: "left-pad", version: "1.3.0" }],
        plugins: expect.arrayContaining(
          PROVIDERS.map((name) => ({ name, kind: "resource", version: npmVersion(`@pulumi/${name}`) })),
        ) as unknown,
      });
    },
  );

  ours("the original runs npm install")("install installs what the lock file says", async () => {
    await writeProgram(COMPONENT_PROGRAM);
    await rm(path.join(project, "node_modules"));
    await mkdir(path.join(project, "local"));
    await writeFile(path.join(project, "local/package.json"), JSON.stringify({ name: "local", version: "1.0.0" }));
    const manifest = { name: "tiny", version: "1.0.0", type: "module", dependencies: { local: "file:local" } };
    const packages = {
      "": manifest,
      local: { version: "1.0.0" },
      "node_modules/local": { resolved: "local", link: true },
    };
    await writeFile(path.join(project, "package.json"), JSON.stringify(manifest));
    const lock = { name: "tiny", version: "1.0.0", lockfileVersion: 3, requires: true, packages };
    await writeFile(path.join(project, "package-lock.json"), JSON.stringify(lock));

    const install = await pulumi("install");
    expect(install.exitCode, install.all).toBe(0);
    expect(install.all).toContain("Finished installing dependencies");
    await stat(path.join(project, "node_modules/local/package.json"));

    await writeFile(path.join(project, "package-lock.json"), "{}");
    const refused = await pulumi("install");
    expect(refused.exitCode).not.toBe(0);
    expect(refused.all).toContain("npm ci: exited with code 1, should be 0");
  });
});

describe("a language host started by hand", () => {
  it("serves an engine that attaches to it, and outlives it", async () => {
    await writeProgram(COMPONENT_PROGRAM);
    await initStack();
    await using host = background(process.execPath, [path.resolve("sandbox/engine/language-host.ts")]);
    const [port] = (await once(host.subprocess.stdout, "data")) as [Buffer];
    const attached = { PULUMI_DEBUG_LANGUAGES: `nodejs:${port.toString().trim()}` };
    for (const run of ["first", "second"]) {
      const preview = await execa("pulumi", ["preview"], {
        cwd: project,
        env: { ...pulumiEnvironment(home), ...attached },
        reject: false,
      });
      expect(preview.exitCode, `${run}: ${preview.stdout}${preview.stderr}`).toBe(0);
      expect(preview.stdout).toMatch(/\+ 2 to create/);
    }
  });
});

describe("the sandbox's Pulumi home", () => {
  const bin = () => path.join(home.root, "pulumi/versions", npmVersion("@pulumi/pulumi"), "bin");

  it("has a CLI of the SDK's version", async () => {
    const version = await execa("pulumi", ["version"], { env: pulumiEnvironment(home) });
    expect(version.stdout).toBe(`v${npmVersion("@pulumi/pulumi")}`);
  });

  it("is also used by the npm launcher", async () => {
    const launcher = path.resolve("node_modules/.bin/pulumi");
    const version = await execa(launcher, ["version"], { env: pulumiEnvironment(home) });
    expect(version.stdout).toBe(`v${npmVersion("@pulumi/pulumi")}`);
    expect(version.stderr).toBe("");
  });

  it("keeps its kind, and is made again for another kind", async () => {
    const marker = path.join(home.root, "pulumi/engine");
    const foreign = path.join(home.root, "pulumi/plugins/resource-foreign-v1.0.0");
    await mkdir(foreign);
    await expect(layOutPulumiHome(home, () => undefined)).resolves.toBe("stand-in");
    await stat(foreign);
    await writeFile(marker, "official\n");
    await layOut();
    await expect(readFile(marker, "utf8")).resolves.toBe("stand-in\n");
    await expect(stat(foreign)).rejects.toThrow("ENOENT");
  });

  it("has official plugins, one or all, while a folder with them is named, and otherwise stand-ins", async () => {
    const plugin = (name: string) => {
      const folder = `resource-${name}-v${npmVersion(`@pulumi/${name}`)}`;
      return path.join(folder, `pulumi-resource-${name}`);
    };
    const installed = (name: string) => readFile(path.join(home.root, "pulumi/plugins", plugin(name)), "utf8");
    const originals = await mkdtemp(path.join(tmpdir(), "convex-droplet-originals-"));
    const official = "#!/bin/sh\nexit 1\n";
    for (const name of ["digitalocean", "tls"]) {
      await mkdir(path.join(originals, path.dirname(plugin(name))));
      await writeFile(path.join(originals, plugin(name)), official, { mode: 0o755 });
    }
    const proxy = 'HTTP_PROXY="$DIGITALOCEAN_API_URL"';
    vi.stubEnv("CONVEX_DROPLET_ORIGINALS", originals);
    try {
      await layOut();
      expect(await installed("tls")).toBe(official);
      // It reaches Spaces through the cloud's API.
      const original = path.join(originals, plugin("digitalocean"));
      expect(await installed("digitalocean")).toBe(`#!/bin/sh\n${proxy} exec '${original}' "$@"\n`);
      expect(await installed("random")).toContain("sandbox/plugins/random/main.ts");
      expect(describeEngine("stand-in")).toBe(
        "official digitalocean, tls; stand-ins: language host, docker, command, postgresql, random",
      );
      vi.stubEnv("CONVEX_DROPLET_ORIGINALS", "");
      await layOut();
      expect(await installed("tls")).toContain("sandbox/plugins/tls/main.ts");
      expect(await installed("tls")).not.toContain("HTTP_PROXY");
      expect(await installed("digitalocean")).toContain(`${proxy} NODE_COMPILE_CACHE=`);
      expect(await readFile(path.join(originals, plugin("tls")), "utf8")).toBe(official);
    } finally {
      vi.unstubAllEnvs();
      await rm(originals, { recursive: true });
      await layOut();
    }
  });

  it("is repaired if something is missing or broken, and keeps its passphrase", async () => {
    const passphrase = path.join(home.root, "passphrase");
    const before = await readFile(passphrase, "utf8");
    expect((await stat(passphrase)).mode & 0o777).toBe(0o600);
    expect(before).toMatch(/^[\w-]{43}\n$/);

    const tls = `resource-tls-v${npmVersion("@pulumi/tls")}`;
    const plugins = path.join(home.root, "pulumi/plugins");
    await rm(path.join(plugins, tls), { recursive: true });
    // An original is the user's file, behind a link.
    if (!isOriginal) await chmod(path.join(bin(), "pulumi-language-nodejs"), 0o644);
    await rm(path.join(bin(), "pulumi"));
    await writeFile(path.join(bin(), "pulumi"), "cut off", { mode: 0o755 });
    await layOut();

    await expect(readFile(passphrase, "utf8")).resolves.toBe(before);
    expect((await stat(path.join(plugins, tls, "pulumi-resource-tls"))).mode & 0o777).toBe(0o755);
    expect((await stat(path.join(bin(), "pulumi-language-nodejs"))).mode & 0o777).toBe(0o755);
    expect((await execa("pulumi", ["version"], { env: pulumiEnvironment(home) })).exitCode).toBe(0);
    expect((await readdir(home.root)).filter((name) => name.startsWith("passphrase"))).toEqual(["passphrase"]);
  });
});

/** A process that ends with the test. */
function background(file: string, args: string[]) {
  const subprocess = execa(file, args, { reject: false, buffer: false });
  return {
    subprocess,
    async [Symbol.asyncDispose]() {
      subprocess.kill("SIGKILL");
      await subprocess;
    },
  };
}
