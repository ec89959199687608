import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { layOutPulumiHome, pulumiEnvironment } from "../../sandbox/engine/pulumi-home.ts";
import { sandboxHome } from "../../sandbox/home.ts";
import { Clone } from "./clone.ts";
import { type Run, TestCloud } from "./harness.ts";
import { stepByStep } from "../steps.ts";

const STACK = "moved";

let cloud: TestCloud;
let second: SecondComputer;

beforeAll(async () => {
  cloud = await TestCloud.start();
  // Also from a clone: otherwise uncommitted files of this checkout would be a difference between the two computers.
  await using first = await Clone.make();
  await deployFrom(first);
  second = await SecondComputer.set(cloud);
});

afterAll(async () => {
  await second[Symbol.asyncDispose]();
  await cloud[Symbol.asyncDispose]();
});

async function deployFrom(clone: Clone): Promise<void> {
  await cloud.createStack(STACK);
  const settings = [
    ["size", "s-1vcpu-2gb"],
    ["--path", "allowedCidrs[0]", "127.0.0.0/8"],
  ];
  // They differ in each sandbox.
  for (const key of ["backendImage", "dashboardImage", "tunnelPort"]) {
    settings.push([key, (await cloud.pulumi(["config", "get", key, "--stack", STACK])).stdout]);
  }
  for (const args of [
    ["stack", "select", STACK],
    ...settings.map((setting) => ["config", "set", ...setting]),
    ["up", "--yes", "--skip-preview"],
  ]) {
    const run = await clone.pulumi(cloud.env, args);
    expect(run.exitCode, run.all).toBe(0);
  }
}

/**
 * Another clone with its own Pulumi and only the program's packages. It has the states, the passphrase and the token, and no
 * other file.
 */
class SecondComputer implements AsyncDisposable {
  readonly root: string;
  readonly #clone: Clone;
  readonly #env: Record<string, string | undefined>;

  private constructor(root: string, clone: Clone, env: Record<string, string | undefined>) {
    this.root = root;
    this.#clone = clone;
    this.#env = env;
  }

  static async set(cloud: TestCloud): Promise<SecondComputer> {
    const root = await mkdtemp(path.join(tmpdir(), "convex-droplet-second-"));
    const home = sandboxHome(root);
    await layOutPulumiHome(home, () => undefined);
    await cp(path.join(cloud.home.root, "state"), path.join(root, "state"), { recursive: true });
    return new SecondComputer(root, await Clone.make("production"), {
      ...pulumiEnvironment(home),
      PULUMI_CONFIG_PASSPHRASE_FILE: undefined,
      PULUMI_CONFIG_PASSPHRASE: (await readFile(path.join(cloud.home.root, "passphrase"), "utf8")).trim(),
      DIGITALOCEAN_TOKEN: cloud.env["DIGITALOCEAN_TOKEN"],
      DIGITALOCEAN_API_URL: cloud.env["DIGITALOCEAN_API_URL"],
    });
  }

  pulumi(args: string[], env: Record<string, string> = {}): Promise<Run> {
    return this.#clone.pulumi({ ...this.#env, ...env }, args);
  }

  npm(name: string, ...args: string[]): Promise<Run> {
    return this.#clone.npm(this.#env, name, ["--stack", STACK, ...args]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#clone[Symbol.asyncDispose]();
    await rm(this.root, { recursive: true, force: true });
  }
}

// Each test continues where the one before ended.
describe("a second computer with the states, the passphrase and the token", () => {
  stepByStep();

  it("gets the stack's settings from its state", async () => {
    for (const args of [
      ["stack", "select", STACK],
      ["config", "refresh", "--force"],
    ]) {
      const run = await second.pulumi(args);
      expect(run.exitCode, run.all).toBe(0);
    }
    expect((await second.pulumi(["config", "get", "size"])).stdout).toBe("s-1vcpu-2gb");
  });

  it("finds nothing to do", async () => {
    const up = await second.pulumi(["up", "--yes", "--skip-preview", "--expect-no-changes"]);
    expect(up.all).toContain("45 unchanged");
    expect(up.exitCode).toBe(0);
  });

  it("refreshes, and finds that nothing has drifted", async () => {
    const refresh = await second.pulumi(["refresh", "--yes", "--skip-preview", "--expect-no-changes"]);
    expect(refresh.all).toContain("45 unchanged");
    expect(refresh.exitCode).toBe(0);
    const look = await second.pulumi(["preview", "--refresh", "--expect-no-changes"]);
    expect(look.all).toContain("45 unchanged");
    expect(look.exitCode).toBe(0);
  });

  it("checks drift, examines the stack, opens a shell on the droplet and writes the key", async () => {
    expect(await second.npm("drift")).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining("is as declared") as unknown,
    });
    expect(await second.npm("doctor")).toMatchObject({ exitCode: 0 });
    expect(await second.npm("ssh", "cat /proc/sys/kernel/ostype")).toMatchObject({ exitCode: 0, stdout: "Linux" });
    expect(await second.npm("env", "--file", path.join(second.root, ".env.local"))).toMatchObject({ exitCode: 0 });
  });

  it("gets a documented error if refresh does not run the program, and nothing changes", async () => {
    const refresh = await second.pulumi(["refresh", "--yes", "--skip-preview"], { PULUMI_RUN_PROGRAM: "false" });
    // Neither provider reports more, so docs/troubleshooting.md explains it.
    const [, quoted = ""] =
      /^\| `(failed to connect[^`]*)`.*PULUMI_RUN_PROGRAM=true/m.exec(
        await readFile("docs/troubleshooting.md", "utf8"),
      ) ?? [];
    expect(quoted).not.toBe("");
    expect(refresh.all).toContain(quoted);
    expect(refresh.exitCode).not.toBe(0);
    const look = await second.pulumi(["preview", "--refresh", "--expect-no-changes"]);
    expect(look.all).toContain("45 unchanged");
    expect(look.exitCode).toBe(0);
  });

  it("changes a setting", async () => {
    expect((await second.pulumi(["config", "set", "logLevel", "warn"])).exitCode).toBe(0);
    const up = await second.pulumi(["up", "--yes", "--skip-preview"]);
    expect(up.exitCode, up.all).toBe(0);
    const environment = await cloud.onDroplet(STACK, "docker exec convex-backend printenv RUST_LOG");
    expect(environment.stdout).toBe("warn");

    // The key from the first computer's last run.
    const { backendUrl = "", adminKey = "" } = await cloud.outputs(STACK);
    const check = { headers: { authorization: `Convex ${adminKey}` } };
    expect((await fetch(`${backendUrl}/api/check_admin_key`, check)).status).toBe(200);
  });

  it("destroys nothing as long as the data is protected, which is the default", async () => {
    const refused = await second.pulumi(["destroy", "--yes"]);
    expect(refused.exitCode).not.toBe(0);
    expect(refused.all).toMatch(/" cannot be deleted\s+because it is protected/);
    const preview = await second.pulumi(["preview", "--expect-no-changes"]);
    expect(preview.exitCode, preview.all).toBe(0);
  });

  it("destroys everything in the cloud after that was switched off", async () => {
    for (const args of [
      ["config", "set", "protectData", "false"],
      ["up", "--yes", "--skip-preview"],
    ]) {
      const run = await second.pulumi(args);
      expect(run.exitCode, run.all).toBe(0);
    }
    const destroy = await second.pulumi(["destroy", "--yes", "--skip-preview"]);
    expect(destroy.all).toContain("45 deleted");
    expect(destroy.exitCode).toBe(0);
    const left = async (route: string) => (await (await cloud.cloud("GET", route)).json()) as Record<string, unknown>;
    expect(await left("/v2/droplets")).toMatchObject({ droplets: [] });
    expect(await left("/v2/volumes")).toMatchObject({ volumes: [] });
    expect(await left("/v2/firewalls")).toMatchObject({ firewalls: [] });
    expect(await left("/v2/account/keys")).toMatchObject({ ssh_keys: [] });
    // The account's default project cannot be deleted.
    expect(await left("/v2/projects")).toMatchObject({ projects: [{ is_default: true }] });
  });
});
