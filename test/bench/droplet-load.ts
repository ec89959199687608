import path from "node:path";

import Docker from "dockerode";
import { execa } from "execa";

import { containerName } from "../../sandbox/droplet/container.ts";
import type { TestCloud } from "../e2e/harness.ts";
import type { Answered, Load } from "./load.ts";
import { median } from "./statistics.ts";

const QUERY = JSON.stringify({ path: "sandbox:get", args: { key: "bench" }, format: "json" });

/**
 * Prepares to ask the backend on a cloud's first droplet for a row, again and again, from the droplet's own network.
 *
 * @param authority  file with certificates to trust besides the public ones
 * @returns asks a URL with the droplet's loopback address
 */
export async function loadOnDroplet(
  cloud: TestCloud,
  load: Omit<Load, "url" | "body">,
  authority = "",
): Promise<(url: string) => Promise<Answered>> {
  const init = await initOfDroplet(cloud);
  return async (url) => {
    const asked: Load = { ...load, url, body: QUERY };
    const program = [process.execPath, path.join(import.meta.dirname, "load.ts"), JSON.stringify(asked)];
    const { stdout } = await execa("nsenter", ["--net", "--target", String(init), ...program], {
      env: { NODE_EXTRA_CA_CERTS: authority },
    });
    return JSON.parse(stdout) as Answered;
  };
}

/** Compares the medians of two series: returns a row of name, both, their ratio and its aim. */
export function rowOf(ours: Answered[], theirs: Answered[]) {
  return (name: string, value: keyof Answered, aim: string): string[] => {
    const [own, other] = [ours, theirs].map((all) => median(all.map((one) => one[value]))) as [number, number];
    return [name, own.toFixed(1), other.toFixed(1), (own / other).toFixed(2), aim];
  };
}

/** This computer's id of the first process of the cloud's droplet. */
async function initOfDroplet(cloud: TestCloud): Promise<number> {
  const { droplets } = (await (await cloud.cloud("GET", "/v2/droplets")).json()) as { droplets: { id: number }[] };
  const container = new Docker().getContainer(containerName(cloud.home, droplets[0]?.id ?? 0));
  return (await container.inspect()).State.Pid;
}
