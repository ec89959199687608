import * as pulumi from "@pulumi/pulumi";
import { onThisStack } from "../settings/on-this-stack.ts";

/**
 * For the `onError` of an image that is pulled. Everything that uses the image comes after it, so nothing was changed yet. This hook says so, and
 * names the command to continue with.
 *
 * @param setting  the setting that names the image, or its path: `apps.web.image`
 */
export function reportUnpulled(setting: string): pulumi.ErrorHook {
  return new pulumi.ErrorHook(`${setting}-unpulled`, async ({ failedOperation, newInputs = {} }) => {
    if (failedOperation === "create") {
      const isPath = setting.includes(".");
      await pulumi.log.error(
        `${setting}: ${String(newInputs["name"])} cannot be pulled, for the reason below. No container ${isPath ? "with it " : ""}was changed. If the registry did not ` +
          `answer, run ${onThisStack("up")} again; ${isPath ? "if it asks for credentials, see docs/apps.md, Private registries; " : ""}otherwise set an image that is published: ` +
          onThisStack("config set", `${isPath ? "--path " : ""}${setting} REPOSITORY@DIGEST`),
      );
    }
    return false;
  });
}
