import { databaseName } from "../contract/names.ts";
import { readBackendEnvironment } from "./kinds/environment.ts";
import { imageFault, unpairedImages } from "./kinds/images.ts";
import { type Fault, matches, type Reader } from "./reader.ts";
import { onThisStack } from "./on-this-stack.ts";

/** The instance: its name, its images, and how its backend runs. */
export function readConvex(read: Reader) {
  const settings = {
    instanceName: read.text("instanceName", instanceNameFault),
    instanceSecret: read.text("instanceSecret", instanceSecretFault),
    backendImage: read.text("backendImage", imageFault),
    dashboardImage: read.text("dashboardImage", imageFault),
    rehearseImages: read.flag("rehearseImages"),
    logLevel: read.text("logLevel", logLevelFault),
    documentRetentionSeconds: read.integer("documentRetentionSeconds", 3600, 31_536_000),
    telemetry: read.flag("telemetry"),
    redactClientLogs: read.flag("redactClientLogs"),
    backendEnvironment: readBackendEnvironment(read, "backendEnvironment"),
  };
  read.refuse("dashboardImage", unpairedImages(settings.backendImage, settings.dashboardImage));
  return settings;
}

function instanceNameFault(text: string): Fault | undefined {
  const value = "convex-self-hosted";
  if (["postgres", "template0", "template1"].includes(databaseName(text))) {
    return { sentence: `"${text}" names one of PostgreSQL's own databases, it should name the instance.`, value };
  }
  return matches(
    // Convex splits keys at | and :, PostgreSQL cuts names at 63 bytes.
    /^[a-z][a-z0-9_-]{0,62}$/,
    "up to 63 lower-case letters, digits, - and _, a letter first (Convex splits keys at | and :)",
    value,
  )(text);
}

/** Never shows the value, because it is a secret. */
function instanceSecretFault(text: string): Fault | undefined {
  if (/^(?:[0-9a-f]{64})?$/i.test(text)) return undefined;
  return {
    sentence: "is not valid, it should be the INSTANCE_SECRET of an instance that you move in: 64 hexadecimal digits.",
    fix: `Set it with: ${onThisStack("config set", "--secret instanceSecret")}, or let it be generated with: ${onThisStack("config rm", "instanceSecret")}`,
  };
}

/** If a word is not a level, the backend reads it as the name of a module, and logs only what that module writes. */
const logLevelFault = (() => {
  const directive = String.raw`(?:[A-Za-z_][\w-]*(?:::[A-Za-z_]\w*)*=)?(?:off|error|warn|info|debug|trace)`;
  return matches(
    new RegExp(`^${directive}(?:,${directive})*$`),
    "a level (off, error, warn, info, debug, trace), or a RUST_LOG filter of levels such as info,database=debug",
    "info",
  );
})();
