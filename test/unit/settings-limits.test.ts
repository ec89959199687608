import * as pulumi from "@pulumi/pulumi";
import { beforeEach, expect, it } from "vitest";

import { refuseLimits } from "../../settings/limits.ts";
import { loadSettings } from "../../settings/load.ts";
import { configure, mockEngine } from "./program.ts";

const IMAGE = `ghcr.io/me/web@sha256:${"a".repeat(64)}`;

beforeEach(async () => {
  await mockEngine();
});

const onSmall = (settings: Record<string, unknown>) => () => {
  configure(settings);
  refuseLimits(loadSettings().apps, "s-1vcpu-2gb", { memoryMb: 2048, vcpus: 1 });
};

it("limits up to what the droplet has are accepted", () => {
  expect(onSmall({ apps: { web: { image: IMAGE, memoryMb: 2048, cpus: 1 } } })).not.toThrow();
});

it("limits above what the droplet has are refused, all at once, and those that a job has from its app only there", () => {
  const settings = {
    apps: { web: { image: IMAGE, memoryMb: 4096, cpus: 1.5 } },
    jobs: { migrate: { app: "web", command: ["x"], cpus: 2 }, seed: { image: IMAGE, memoryMb: 3000 } },
  };
  const refused = onSmall(settings);
  expect(refused).toThrow(pulumi.RunError);
  expect(refused).toThrow(
    [
      "convex-droplet:apps.web.memoryMb: 4096 is above 2048, the MB of memory of a droplet of size s-1vcpu-2gb, it should be at most that. " +
        "Set it with: npx pulumi config set --stack test --path apps.web.memoryMb 2048",
      "convex-droplet:apps.web.cpus: 1.5 is above 1, the processors of a droplet of size s-1vcpu-2gb, it should be at most that. " +
        "Set it with: npx pulumi config set --stack test --path apps.web.cpus 1",
      "convex-droplet:jobs.migrate.cpus: 2 is above 1, the processors of a droplet of size s-1vcpu-2gb, it should be at most that. " +
        "Set it with: npx pulumi config set --stack test --path jobs.migrate.cpus 1",
      "convex-droplet:jobs.seed.memoryMb: 3000 is above 2048, the MB of memory of a droplet of size s-1vcpu-2gb, it should be at most that. " +
        "Set it with: npx pulumi config set --stack test --path jobs.seed.memoryMb 2048",
    ].join("\n"),
  );
});
