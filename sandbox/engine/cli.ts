import path from "node:path";

import { builtPath, ensureBuilt, type GoProgram, type OnProgress } from "./go-build.ts";
import { npmVersion } from "./npm-version.ts";

/** The CLI's version is the SDK's, because engine, language host and SDK must match. */
export const PULUMI_VERSION = npmVersion("@pulumi/pulumi");

/** The URL of the install script for the npm launcher `pulumi` (node_modules/pulumi/lib/download.js). */
const OFFICIAL_DOWNLOAD = "https://get.pulumi.com/install.sh";

const PROBE_MILLISECONDS = 3000;

const CLI: GoProgram = {
  title: "Pulumi CLI",
  version: PULUMI_VERSION,
  module: path.join(import.meta.dirname, "pulumi-cli"),
  package: "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
  versionVariable: "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version",
  tags: "osusergo,grpcnotrace",
  executable: "pulumi",
};

/** Whether the official CLI can be downloaded from here. Takes three seconds at most. */
export async function officialDownloadReachable(url = OFFICIAL_DOWNLOAD): Promise<boolean> {
  try {
    const response = await fetch(url, { method: "HEAD", signal: AbortSignal.timeout(PROBE_MILLISECONDS) });
    return response.ok;
  } catch {
    return false;
  }
}

/** The path of the CLI that was built from source. */
export function cachedCliPath(environment: NodeJS.ProcessEnv = process.env): string {
  return builtPath(CLI, environment);
}

/**
 * Builds the CLI, unless it is built, and returns its path. The first build downloads 1.6 GB and takes five minutes on two
 * cores.
 *
 * @throws Error if Go is missing or too old, or the build fails; the message has the fix
 */
export function ensureBuiltCli(onProgress: OnProgress): Promise<string> {
  return ensureBuilt(CLI, onProgress);
}
