import { beforeEach, describe, expect, it, vi } from "vitest";

import * as pulumi from "@pulumi/pulumi";

import { explainBrokenConnection } from "../../error-hooks/broken-connection.ts";
import { mockEngine } from "./program.ts";

beforeEach(() => mockEngine());

/** @returns what is said, and whether the engine tries again */
async function afterFailure(error: string): Promise<{ said: string[]; again: boolean }> {
  const said: string[] = [];
  const log = vi.spyOn(pulumi.log, "error").mockImplementation((text) => {
    said.push(text);
    return Promise.resolve();
  });
  const again = await explainBrokenConnection("convex").callback({
    ...{ urn: "", id: "", name: "convex-server", type: "command:remote:Command" },
    ...{ failedOperation: "create", errors: [error] },
  });
  log.mockRestore();
  return { said, again };
}

describe("a script whose run fails", () => {
  it.each([
    'wait: remote command exited without exit status or exit signal: running "bash host.sh":\nhost.sh: installing nftables',
    "the SSH connection was lost",
  ])("is explained if the connection broke: %s", async (error) => {
    expect(await afterFailure(error)).toEqual({
      said: [
        expect.stringMatching(
          /^convex-server: the SSH connection to the droplet broke\. .* npx pulumi up --stack test again/,
        ),
      ],
      again: false,
    });
  });

  it("explains itself if it ended", async () => {
    expect(await afterFailure("Process exited with status 1: running …: host.sh: error: …")).toEqual({
      said: [],
      again: false,
    });
  });
});
