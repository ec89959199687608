import * as pulumi from "@pulumi/pulumi";
import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { reportUnpulled } from "../../error-hooks/image.ts";
import { mockEngine } from "./program.ts";

beforeEach(async () => {
  await mockEngine();
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** What is said after an image could not be pulled, and whether Pulumi tries again. */
async function afterFailure(setting: string) {
  const said: string[] = [];
  vi.spyOn(pulumi.log, "error").mockImplementation((message) => {
    said.push(message);
    return Promise.resolve();
  });
  const again = await reportUnpulled(setting).callback({
    ...{ urn: "", id: "", name: "", type: "docker:index/remoteImage:RemoteImage", failedOperation: "create" },
    ...{ newInputs: { name: "ghcr.io/me/web@sha256:1" }, errors: ["manifest unknown"] },
  });
  return { again, said };
}

it.each([
  [
    "backendImage",
    "backendImage: ghcr.io/me/web@sha256:1 cannot be pulled, for the reason below. No container was changed. If the registry did not answer, " +
      "run npx pulumi up --stack test again; otherwise set an image that is published: " +
      "npx pulumi config set --stack test backendImage REPOSITORY@DIGEST",
  ],
  [
    "apps.web.image",
    "apps.web.image: ghcr.io/me/web@sha256:1 cannot be pulled, for the reason below. No container with it was changed. If the registry did not answer, " +
      "run npx pulumi up --stack test again; if it asks for credentials, see docs/apps.md, Private registries; otherwise set an image that is published: " +
      "npx pulumi config set --stack test --path apps.web.image REPOSITORY@DIGEST",
  ],
])("an image of %s that cannot be pulled: the setting and the commands are named", async (setting, message) => {
  expect(await afterFailure(setting)).toEqual({ again: false, said: [message] });
});
