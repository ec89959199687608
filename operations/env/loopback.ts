import type { Outputs } from "../outputs.ts";
import { pulumiCommand } from "../../contract/commands.ts";
import { npmCommand } from "../typed.ts";

/** Whether a URL leads to the computer that uses it. */
export function isLoopback(url: string): boolean {
  return /^(localhost|.*\.localhost|127\.0\.0\.1|\[::1\]|0\.0\.0\.0)$/.test(new URL(url).hostname);
}

/**
 * Refuses URLs that lead a CI runner to itself.
 *
 * @param tunnelled  the command for a job that has opened the stack's tunnel
 * @throws Error with the commands that give the runner access to the stack
 */
export function refuseLoopback({ backendUrl, siteUrl }: Outputs, stack: string, tunnelled: string): void {
  const name = Object.entries({ backendUrl, siteUrl }).find(([, url]) => isLoopback(url))?.[0];
  if (name === undefined) return;
  throw new Error(
    `${name}: is ${name === "siteUrl" ? siteUrl : backendUrl}, which leads a runner to itself, it should be a URL that the runner reaches. ` +
      `Open the stack to the runner's network: ${pulumiCommand(stack, "config set", "--path 'allowedCidrs[0]' NETWORK")} && ${pulumiCommand(stack, "up")}. ` +
      `Or open ${npmCommand(stack, "tunnel")} in the job, then run: ${tunnelled}`,
  );
}
