import path from "node:path";

import { ensureBuilt, type GoProgram, type OnProgress } from "./go-build.ts";

const S3_SERVER: GoProgram = {
  title: "S3 server versitygw",
  version: "1.8.0",
  module: path.join(import.meta.dirname, "versitygw"),
  package: "github.com/versity/versitygw/cmd/versitygw",
  versionVariable: "main.Version",
  tags: "osusergo",
  executable: "versitygw",
};

/**
 * Builds the S3 server behind the sandbox's Spaces, unless it is built, and returns its path. The first build takes three
 * minutes on two cores.
 *
 * @throws Error if Go is missing or too old, or the build fails; the message has the fix
 */
export function ensureS3Server(onProgress: OnProgress): Promise<string> {
  return ensureBuilt(S3_SERVER, onProgress);
}
