import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";

import { expect } from "vitest";

import { useDomain } from "../../sandbox/domain.ts";
import { stackFile } from "../../sandbox/project.ts";
import { TestBrowser } from "../e2e/browser.ts";
import { endedUp } from "../e2e/ended-up.ts";
import { TestCloud } from "../e2e/harness.ts";
import { useNames } from "../e2e/names.ts";
import { succeeded } from "../e2e/succeeded.ts";

/** One of the examples on a cloud of its own, from its stack file, as its README says. */
export class Example implements AsyncDisposable {
  readonly stack: string;
  readonly cloud: TestCloud;
  /** In which programs find the stack's names. */
  readonly names: Record<string, string>;

  private constructor(stack: string, cloud: TestCloud, names: Record<string, string>) {
    this.stack = stack;
    this.cloud = cloud;
    this.names = names;
  }

  /** @param stack  the name of its folder */
  static async start(stack: string): Promise<Example> {
    const cloud = await TestCloud.start();
    try {
      const file = `Pulumi.${stack}.yaml`;
      const example = await readFile(path.join("examples", stack, file), "utf8");
      await writeFile(stackFile(cloud.home, stack), example.replaceAll("example.com", "convex.test"));
      await cloud.createStack(stack);
      await useDomain(cloud.home, stack, "convex.test");
      return new Example(stack, cloud, await useNames(cloud));
    } catch (error) {
      await cloud[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Sets an option as a person does. */
  async set(option: string, value: string): Promise<void> {
    succeeded(await this.cloud.pulumi(["config", "set", "--stack", this.stack, "--path", option, value]));
  }

  /** Deploys, and checks that a second run has nothing to do, and that nothing differs from what was declared. */
  async deploy(): Promise<void> {
    succeeded(await this.cloud.up(this.stack));
    succeeded(await this.cloud.up(this.stack, "--expect-no-changes"));
    expect(succeeded(await this.cloud.operate("drift", this.stack))).toContain("is as declared");
  }

  /** Kills an `up` as soon as a second container of an app exists, and lets the next one finish it. */
  async deployKilled(app: string): Promise<void> {
    await endedUp(this.cloud, this.stack, "kill", "the new container to exist", async () => {
      return (await this.containers(app)).length > 1;
    });
    succeeded(await this.cloud.pulumi(["cancel", "--yes", "--stack", this.stack]));
    succeeded(await this.cloud.up(this.stack));
    expect(await this.containers(app)).toHaveLength(1);
    succeeded(await this.cloud.up(this.stack, "--expect-no-changes"));
  }

  async containers(app: string): Promise<string[]> {
    const listed = await this.droplet(`docker ps --all --filter name=^convex-app-${app}- --format '{{.Names}}'`);
    return listed.split("\n").filter((name) => name !== "");
  }

  /** The environment of an app's container. */
  async environment(app: string): Promise<Record<string, string>> {
    const lines = await this.droplet(
      `docker inspect --format '{{json .Config.Env}}' $(docker ps --quiet --filter name=^convex-app-${app}-)`,
    );
    return Object.fromEntries(
      (JSON.parse(lines) as string[]).map((line) => [
        line.slice(0, line.indexOf("=")),
        line.slice(line.indexOf("=") + 1),
      ]),
    );
  }

  async droplet(command: string, input?: string): Promise<string> {
    return succeeded(await this.cloud.onDroplet(this.stack, command, input)).trim();
  }

  async address(): Promise<string> {
    return (await this.cloud.outputs(this.stack))["publicIp"] ?? "";
  }

  /** What a person sees at a URL: the page's state, and the messages on it. */
  async page(url: string): Promise<{ state: string; messages: string[] }> {
    await using browser = await TestBrowser.start(this.cloud, await this.address());
    await using opened = await browser.visit(url);
    expect(opened.status).toBe(200);
    await opened.page.waitForFunction("document.getElementById('state').textContent !== 'connecting'");
    return (await opened.page.evaluate(
      "({ state: document.getElementById('state').textContent, messages: [...document.querySelectorAll('li')].map((item) => item.textContent) })",
    )) as { state: string; messages: string[] };
  }

  /** Now, on the droplet's clock, a second after everything before and before everything after. */
  async moment(): Promise<string> {
    await new Promise((resolve) => setTimeout(resolve, 1100));
    const now = await this.droplet("date --utc +%Y-%m-%dT%H:%M:%S.%3NZ");
    await new Promise((resolve) => setTimeout(resolve, 1100));
    return now;
  }

  /** Destroys it, and checks that nothing of it is left in the account. */
  async destroy(): Promise<void> {
    succeeded(await this.cloud.pulumi(["destroy", "--yes", "--skip-preview", "--stack", this.stack]));
    const left = async (route: string) =>
      (await (await this.cloud.cloud("GET", `/v2/${route}`)).json()) as Record<string, unknown[]>;
    for (const [route, list] of [
      ...[["droplets"], ["volumes"], ["firewalls"], ["snapshots"], ["reserved_ips"], ["spaces/keys", "keys"]],
      ["account/keys", "ssh_keys"],
    ] as [string, string?][]) {
      expect((await left(route))[list ?? route], route).toEqual([]);
    }
    // The account's default project, and the name servers of the domain, cannot be deleted.
    expect(await left("projects")).toMatchObject({ projects: [{ is_default: true }] });
    const { domain_records: records = [] } = await left("domains/convex.test/records");
    expect((records as { type: string }[]).filter(({ type }) => type !== "NS" && type !== "SOA")).toEqual([]);
    const { stdout } = await this.cloud.pulumi(["stack", "export", "--stack", this.stack]);
    expect((JSON.parse(stdout) as { deployment: object }).deployment).not.toHaveProperty("resources.0");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.cloud[Symbol.asyncDispose]();
  }
}
