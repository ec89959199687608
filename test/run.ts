import { execa } from "execa";

import { cachedCliPath, ensureBuiltCli, officialDownloadReachable } from "../sandbox/engine/cli.ts";
import { isExecutable } from "../sandbox/engine/go-build.ts";
import { ensureS3Server } from "../sandbox/engine/s3-server.ts";
import { describeEngine } from "../sandbox/engine/pulumi-home.ts";
import { checkComputer, prepareComputer, releaseEngine } from "../sandbox/prerequisites.ts";
import { step } from "../sandbox/progress.ts";

// `npm test`: prepares this computer, then runs all levels of tests, except the long ones. Words after `--` go to vitest, for
// example `npm test -- --project contract test/contract/cloud-api.test.ts`.
const words = process.argv.slice(2);
if (!words.some((word) => word.startsWith("--project"))) words.push("--project", "!long");
checkComputer(!(await isExecutable(cachedCliPath())));
await step("Debian packages and Docker engine", (progress) => prepareComputer(progress, "tests"));
await step("Pulumi CLI", ensureBuiltCli);
await step("S3 server of Spaces", ensureS3Server);
const engine = (await officialDownloadReachable()) ? "official" : "stand-in";
process.stderr.write(`End-to-end tests run on: ${describeEngine(engine)}\n`);
const vitest = await execa("vitest", ["run", ...words], {
  stdio: "inherit",
  reject: false,
  preferLocal: true,
});
// An engine that does not stop is not a failed test, and the count above must stay the last line.
await releaseEngine().catch(() => undefined);
process.exitCode = vitest.exitCode ?? 1;
