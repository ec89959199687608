import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";

import { describe, expect, it } from "vitest";

import { cachedCliPath, officialDownloadReachable } from "../../sandbox/engine/cli.ts";
import { npmVersion } from "../../sandbox/engine/npm-version.ts";
import { nodeWrapper, pulumiEnvironment } from "../../sandbox/engine/pulumi-home.ts";
import { folderOf } from "../../contract/sandbox.ts";
import { sandboxHome } from "../../sandbox/home.ts";

describe("the sandbox's folder", () => {
  it("is the checkout's, unless another one is named", () => {
    for (const unnamed of [{}, { CONVEX_DROPLET_SANDBOX: "" }]) {
      expect(folderOf(unnamed)).toBe(path.resolve(".sandbox"));
    }
    expect(folderOf({ CONVEX_DROPLET_SANDBOX: "/elsewhere" })).toBe("/elsewhere");
  });
});

describe("the engine's files", () => {
  it("are scripts that run Node, whatever the folders' names", () => {
    expect(nodeWrapper("/it's/main.ts", "/c d")).toBe(
      `#!/bin/sh\nNODE_COMPILE_CACHE='/c d' exec '${process.execPath}' '/it'\\''s/main.ts' "$@"\n`,
    );
  });

  it("are found with an environment that does not touch the user's Pulumi", () => {
    const bin = `/sandbox/pulumi/versions/${npmVersion("@pulumi/pulumi")}/bin`;
    expect(pulumiEnvironment(sandboxHome("/sandbox"))).toEqual({
      PULUMI_HOME: "/sandbox/pulumi",
      PULUMI_BACKEND_URL: "file:///sandbox/state?metadata=skip",
      PULUMI_CONFIG_PASSPHRASE: undefined,
      PULUMI_CONFIG_PASSPHRASE_FILE: "/sandbox/passphrase",
      PULUMI_RUN_PROGRAM: "true",
      PULUMI_SKIP_UPDATE_CHECK: "true",
      PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true",
      PATH: `${bin}:${path.resolve("node_modules/.bin")}:${process.env["PATH"] ?? ""}`,
    });
  });

  it("include one CLI for all checkouts of a user", () => {
    const name = `convex-droplet/pulumi-cli-v${npmVersion("@pulumi/pulumi")}/pulumi`;
    expect(cachedCliPath({ XDG_CACHE_HOME: "/cache" })).toBe(`/cache/${name}`);
    expect(cachedCliPath({})).toMatch(new RegExp(`/\\.cache/${name}$`));
  });
});

describe("the official download", () => {
  async function probe(status: number | undefined): Promise<boolean> {
    const server = createServer((_request, response) => {
      if (status !== undefined) response.writeHead(status).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      return await officialDownloadReachable(`http://127.0.0.1:${(server.address() as AddressInfo).port}/install.sh`);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  }

  it("is reachable if it answers with the file", async () => {
    await expect(probe(200)).resolves.toBe(true);
  });

  it("is not reachable if something else answers, nothing does, or it takes longer than three seconds", async () => {
    await expect(probe(403)).resolves.toBe(false);
    await expect(officialDownloadReachable("http://127.0.0.1:1/install.sh")).resolves.toBe(false);
    await expect(probe(undefined)).resolves.toBe(false);
  });
});
