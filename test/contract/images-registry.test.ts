import { readFile, stat } from "node:fs/promises";
import https from "node:https";
import path from "node:path";
import Docker from "dockerode";
import { execa } from "execa";
import { afterAll, beforeAll, expect, it } from "vitest";
import { REGISTRY_HOST } from "../../sandbox/droplet/network.ts";
import { publishImages } from "../../sandbox/images/build.ts";
import { revision } from "../../sandbox/images/recipe.ts";
import { registryCertificate, startRegistry, stopRegistry } from "../../sandbox/images/registry.ts";
import { waitFor } from "../../sandbox/wait-for.ts";
import { TestSandbox } from "./images-harness.ts";

const docker = new Docker();

let sandbox: TestSandbox;

beforeAll(async () => {
  sandbox = await TestSandbox.create();
});

afterAll(async () => {
  await stopRegistry(sandbox.home);
  await sandbox[Symbol.asyncDispose]();
});

const folder = () => path.join(sandbox.home.root, "registry");

/** Processes that serve a configuration of this sandbox. */
async function pids(): Promise<number[]> {
  const { stdout } = await execa("pgrep", ["-f", `^docker-registry serve ${folder()}/`], { reject: false });
  return stdout.split("\n").filter(Boolean).map(Number);
}

/** A request like a droplet's: to the gateway, with the registry's name, trusting only the sandbox's authority. */
async function asDroplet(route: string, servername = REGISTRY_HOST): Promise<number | undefined> {
  const ca = await readFile(registryCertificate(sandbox.home));
  return await new Promise((resolve, reject) => {
    const options = { host: sandbox.network.gateway, port: sandbox.home.registryPort, servername, ca, agent: false };
    https
      .get({ ...options, path: route }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
      .on("error", reject);
  });
}

it("starts once, for this computer and for droplets, with a certificate for its name only", async () => {
  await startRegistry(sandbox.home);
  const running = await pids();
  expect(running).toHaveLength(2);
  await startRegistry(sandbox.home);
  expect(await pids()).toEqual(running);
  expect(await asDroplet("/v2/")).toBe(200);
  await expect(asDroplet("/v2/", "other.sandbox")).rejects.toThrow("does not match certificate's altnames");
  expect((await stat(folder())).mode & 0o777).toBe(0o700);
});

it("publishes both images of one revision, and serves them by digest", async () => {
  const steps: string[] = [];
  const images = await publishImages(sandbox.home, (step) => steps.push(step));
  expect(steps).toContain("pushing convex-backend");
  const { registryPort } = sandbox.home;
  const tag = await revision();
  expect(tag).toMatch(/^[0-9a-f]{40}$/);
  for (const image of ["backend", "dashboard"] as const) {
    const [, digest = ""] = images[image].split("@");
    expect(images[image]).toBe(`${REGISTRY_HOST}:${registryPort}/convex-${image}:${tag}@${digest}`);
    expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(await asDroplet(`/v2/convex-${image}/manifests/${digest}`)).toBe(200);

    const pulled = `127.0.0.1:${registryPort}/convex-${image}@${digest}`;
    await docker.pull(pulled).then(
      (report) =>
        new Promise((resolve) => {
          docker.modem.followProgress(report, resolve);
        }),
    );
    try {
      const { Config, Size } = await docker.getImage(pulled).inspect();
      expect(Config.Labels).toEqual({ "org.opencontainers.image.revision": tag });
      expect(Size).toBeLessThan(220_000_000);
    } finally {
      await docker.getImage(pulled).remove();
    }
  }
  steps.length = 0;
  expect(await publishImages(sandbox.home, (step) => steps.push(step))).toEqual(images);
  expect(steps).toEqual([]);
});

it("serves its images again after one of its processes was killed", async () => {
  const images = await publishImages(sandbox.home, () => undefined);
  const [first = 0, second] = await pids();
  process.kill(first, "SIGKILL");
  await waitFor("the process to be gone", 10, async () => (await pids()).length === 1);
  await startRegistry(sandbox.home);
  expect(await pids()).toHaveLength(2);
  expect(await pids()).toContain(second);
  expect(await publishImages(sandbox.home, () => undefined)).toEqual(images);
});

it("stops, leaves only its storage, and can be stopped again", async () => {
  await stopRegistry(sandbox.home);
  expect(await pids()).toEqual([]);
  await expect(asDroplet("/v2/")).rejects.toThrow("ECONNREFUSED");
  await stopRegistry(sandbox.home);
});
