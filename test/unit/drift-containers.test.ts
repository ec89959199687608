import { describe, expect, it } from "vitest";

import { compareContainers } from "../../operations/findings/containers/containers.ts";
import type { Inside } from "../../operations/findings/inside.ts";
import { State } from "../../operations/state.ts";

const state = new State("dev", [
  {
    type: "digitalocean:index/droplet:Droplet",
    name: "convex-droplet",
    id: "1",
    inputs: {},
    outputs: { memory: 4096 },
  },
  {
    type: "docker:index/container:Container",
    name: "convex-backend",
    id: "2",
    inputs: {
      name: "convex-backend",
      image: "convex@sha256:1",
      envs: [],
      ports: [],
      networksAdvanced: [],
      memory: 2457,
    },
    outputs: {},
  },
]);

function died(told: { ExitCode: number; OOMKilled: boolean; Status?: string }, restarts: number, starved = ""): Inside {
  const container = {
    Id: "0123456789abcdef",
    Name: "/convex-backend",
    Image: "1",
    RestartCount: restarts,
    State: { Status: "restarting", ...told },
    Mounts: [],
    Config: { Env: [] },
    HostConfig: { RestartPolicy: {}, LogConfig: {}, Memory: 2457 * 1024 ** 2 },
    NetworkSettings: { Networks: {} },
  };
  const facts = { "docker.containers": JSON.stringify([container]), "docker.out_of_memory": starved };
  return {
    differences: [],
    facts: new Map(Object.entries(facts).map(([name, text]) => [name, { exitCode: 0, text }])),
  };
}

const LIMIT = "it needs more than its limit of 2457 MiB, of the droplet's 4096 MiB";

describe("a container that is killed again and again", () => {
  it.each([
    [{ ExitCode: 137, OOMKilled: true }, "", `was killed for memory (3 times, it is restarting): ${LIMIT}`],
    [
      { ExitCode: 137, OOMKilled: false },
      "",
      `ended with 137, as the kernel ends what needs too much memory (3 times, it is restarting): ${LIMIT}`,
    ],
    [
      { ExitCode: 0, OOMKilled: false, Status: "running" },
      "convex-backend\n",
      `was killed for memory (3 times, it is running): ${LIMIT}`,
    ],
  ])("%j is told of its memory and the size that would do", (told, starved, message) => {
    const findings = compareContainers(state, died(told, 3, starved));
    expect(findings).toContainEqual({
      ...{ area: "containers", source: "docker.containers" },
      ...{ subject: "containers.convex-backend", property: "memory", path: "containers.convex-backend.memory" },
      ...{ severity: "error", expected: 2457, found: "not enough", message },
      repair: {
        why: expect.stringContaining("pulumi config set --stack dev size s-4vcpu-8gb") as unknown,
        command: "docker logs --tail 50 convex-backend",
      },
    });
    expect(findings.map(({ path }) => path)).not.toContain("containers.convex-backend.state");
  });

  it.each([
    ["of something else", { ExitCode: 1, OOMKilled: false }, 3],
    ["by a person", { ExitCode: 137, OOMKilled: false, Status: "exited" }, 0],
  ])("%s is not", (_, told, restarts) => {
    const paths = compareContainers(state, died(told, restarts)).map(({ path }) => path);
    expect(paths).toContain("containers.convex-backend.state");
    expect(paths).not.toContain("containers.convex-backend.memory");
  });
});
