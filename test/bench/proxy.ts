import { useDomain } from "../../sandbox/domain.ts";
import { acmeAuthority } from "../../sandbox/droplet/acme-server.ts";
import type { TestCloud } from "../e2e/harness.ts";
import { loadOnDroplet, rowOf } from "./droplet-load.ts";
import type { Answered } from "./load.ts";
import { table } from "./statistics.ts";

const STACK = "proxy";
const HOST = "api.convex.test";
const CONNECTIONS = 16;
const SECONDS = 10;

/** The same requests on the backend's own port, and through TLS and nginx, with one entry for each round. */
export interface ProxyResults {
  direct: Answered[];
  proxied: Answered[];
  /** Of all processes of nginx, after the requests; shared pages are counted once. */
  nginxMegabytes: number;
}

/** Deploys a stack with a domain, and measures `/api/query` from the droplet itself, in turns. */
export async function measureProxy(cloud: TestCloud, rounds: number): Promise<ProxyResults> {
  await cloud.createStack(STACK);
  await useDomain(cloud.home, STACK, "convex.test");
  const up = await cloud.up(STACK);
  if (up.exitCode !== 0) throw new Error(up.all);
  const ask = await loadOnDroplet(
    cloud,
    { host: HOST, connections: CONNECTIONS, seconds: SECONDS },
    acmeAuthority(cloud.home),
  );
  const results: ProxyResults = { direct: [], proxied: [], nginxMegabytes: NaN };
  for (let round = 1; round <= rounds; round += 1) {
    results.direct.push(await ask("http://127.0.0.1:3210/api/query"));
    results.proxied.push(await ask("https://127.0.0.1/api/query"));
  }
  const sum =
    "cat $(pgrep -x nginx | sed 's|.*|/proc/&/smaps_rollup|') | awk '/^Pss:/ { sum += $2 } END { print sum }'";
  results.nginxMegabytes = Number((await cloud.onDroplet(STACK, sum)).stdout) / 1024;
  await cloud.pulumi(["destroy", "--yes", "--skip-preview", "--stack", STACK]);
  return results;
}

export function reportProxy({ direct, proxied, nginxMegabytes }: ProxyResults): string {
  const row = rowOf(proxied, direct);
  return [
    `\n/api/query on the droplet, ${CONNECTIONS} connections that stay open; medians of ${direct.length} rounds of ${SECONDS} s\n\n`,
    table([
      ["", "TLS and nginx", "the backend's port", "ratio", "aim"],
      row("requests per second", "perSecond", "≥ 0.8"),
      row("median, ms", "p50", ""),
      row("99th percentile, ms", "p99", "≤ 1.3"),
    ]),
    `\nnginx takes ${nginxMegabytes.toFixed(0)} MB.\n`,
  ].join("");
}
