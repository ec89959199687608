import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { programDependencies, requiredPlugins } from "../../sandbox/engine/npm-packages.ts";
import { npmVersion } from "../../sandbox/engine/npm-version.ts";
import { PROVIDERS } from "../../sandbox/engine/pulumi-home.ts";

describe("installed packages", () => {
  let project: string;

  beforeEach(async () => {
    project = await mkdtemp(path.join(tmpdir(), "convex-droplet-packages-"));
  });

  afterEach(async () => {
    await rm(project, { recursive: true, force: true });
  });

  async function write(file: string, content: object): Promise<void> {
    await mkdir(path.dirname(path.join(project, file)), { recursive: true });
    await writeFile(path.join(project, file), JSON.stringify(content));
  }

  const install = (folder: string, manifest: object) => write(path.join(folder, "package.json"), manifest);

  it("name the plugins of which they are the SDKs, wherever they are installed, each once", async () => {
    await install("node_modules/@pulumi/cloud", {
      name: "@pulumi/cloud",
      version: "1.2.3",
      pulumi: { resource: true },
    });
    await install("node_modules/@me/own", { name: "@me/own", version: "v0.1.0", pulumi: { resource: true } });
    await install("node_modules/renamed", {
      name: "renamed",
      version: "9.9.9",
      pulumi: { resource: true, name: "other", version: "2.0.0", server: "https://plugins.example" },
    });
    await install("node_modules/plain", { name: "plain", version: "1.0.0" });
    await install("node_modules/not-a-provider", { name: "x", version: "1.0.0", pulumi: { resource: false } });
    const nested = { name: "@pulumi/cloud", version: "1.0.0", pulumi: { resource: true } };
    await install("node_modules/plain/node_modules/@pulumi/cloud", nested);
    await install("node_modules/not-a-provider/node_modules/@pulumi/cloud", nested);
    await write("infra/index.json", {});

    await expect(requiredPlugins(path.join(project, "infra"))).resolves.toEqual([
      { name: "cloud", version: "v1.0.0" },
      { name: "cloud", version: "v1.2.3" },
      { name: "me/own", version: "v0.1.0" },
      { name: "other", version: "v2.0.0", server: "https://plugins.example" },
    ]);
  });

  it("of this project name its providers, at the versions package.json pins", async () => {
    await symlink(path.resolve("node_modules"), path.join(project, "node_modules"));
    const expected = PROVIDERS.map((name) => ({ name, version: `v${npmVersion(`@pulumi/${name}`)}` }));
    await expect(requiredPlugins(project)).resolves.toEqual(expected.sort((a, b) => (a.name < b.name ? -1 : 1)));
  });

  it("are listed from the lock file, all or only the requested ones", async () => {
    await install(".", { name: "shop", dependencies: { a: "1" }, devDependencies: { "@me/b": "2" } });
    await write("package-lock.json", {
      packages: {
        "": { name: "shop", version: "0.0.1" },
        "node_modules/a": { version: "1.1.0" },
        "node_modules/a/node_modules/c": { version: "3.0.0" },
        "node_modules/@me/b": { version: "2.1.0" },
        "node_modules/@me/b/node_modules/a": { version: "0.9.0" },
      },
    });
    const direct = [
      { name: "a", version: "1.1.0" },
      { name: "@me/b", version: "2.1.0" },
    ];
    await expect(programDependencies(path.join(project, "infra"), false)).resolves.toEqual(direct);
    await expect(programDependencies(project, true)).resolves.toEqual([
      { name: "a", version: "1.1.0" },
      { name: "c", version: "3.0.0" },
      { name: "@me/b", version: "2.1.0" },
      { name: "a", version: "0.9.0" },
    ]);
  });

  it("cannot be listed without a lock file", async () => {
    const message = `no package-lock.json found (searching upwards from ${project})`;
    await expect(programDependencies(project, true)).rejects.toThrow(message);
  });
});
