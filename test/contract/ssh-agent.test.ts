import { rm } from "node:fs/promises";
import path from "node:path";

import * as pulumi from "@pulumi/pulumi";
import { execa } from "execa";
import { expect, it } from "vitest";

import { openEmptyAgent } from "../../ssh/agent.ts";

it("is an agent without keys for OpenSSH, also for two runs on one machine", async () => {
  const open = () =>
    new Promise<string>((resolve) => openEmptyAgent(pulumi.output(`ssh-ed25519 test${process.pid}`)).apply(resolve));
  const socket = await open();
  try {
    expect(await open()).toBe(socket);
    const listed = await execa("ssh-add", ["-l"], { env: { SSH_AUTH_SOCK: socket }, reject: false });
    expect(listed).toMatchObject({ exitCode: 1, stdout: "The agent has no identities." });
  } finally {
    await rm(path.dirname(socket), { recursive: true });
  }
});
