import * as pulumi from "@pulumi/pulumi";

import type { AppSettings } from "./apps.ts";
import type { JobSettings } from "./jobs.ts";
import { setWith } from "./reader.ts";

/**
 * Refuses limits of apps and jobs that are above what a droplet of this size has: Docker refuses more processors only when it makes the
 * container, and more memory is no limit.
 *
 * @throws pulumi.RunError with every mistake at once
 */
export function refuseLimits(
  { apps, jobs }: { apps: AppSettings[]; jobs: JobSettings[] },
  size: string,
  droplet: { memoryMb: number; vcpus: number },
): void {
  const limited = [
    ...apps.map((app) => ({ path: `apps.${app.name}`, ...app })),
    ...jobs.map((job) => {
      // Those of its app are reported there.
      const { memoryMb, cpus } = apps.find(({ name }) => name === job.foldersOf) ?? {};
      return {
        path: `jobs.${job.name}`,
        memoryMb: job.memoryMb === memoryMb ? 0 : job.memoryMb,
        cpus: job.cpus === cpus ? undefined : job.cpus,
      };
    }),
  ];
  const mistakes = limited.flatMap(({ path, memoryMb, cpus = "0" }) => [
    ...above(`${path}.memoryMb`, String(memoryMb), droplet.memoryMb, "MB of memory", size),
    ...above(`${path}.cpus`, cpus, droplet.vcpus, "processors", size),
  ]);
  if (mistakes.length > 0) throw new pulumi.RunError(mistakes.join("\n"));
}

function above(path: string, given: string, most: number, what: string, size: string): string[] {
  return Number(given) <= most
    ? []
    : [
        `convex-droplet:${path}: ${given} is above ${most}, the ${what} of a droplet of size ${size}, it should be at most that. ${setWith(path, String(most))}`,
      ];
}
