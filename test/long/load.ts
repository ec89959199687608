import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";

/** What came of the requests under load. */
export interface Answered {
  requests: number;
  /** What wrk says of those without a good answer; empty if there are none. */
  lost: string;
}

/** Connections that stay open, each of which asks again as soon as it has its answer. */
const CONNECTIONS = 50;
/** An answer that is only late is not lost. */
const TIMEOUT = "60s";

/**
 * Loads a URL with wrk while something happens.
 *
 * @param address  where wrk finds the URL's name
 */
export async function underLoad(url: string, address: string, act: () => Promise<void>): Promise<Answered> {
  const folder = await mkdtemp(path.join(tmpdir(), "convex-droplet-load-"));
  try {
    const hosts = path.join(folder, "hosts");
    await writeFile(hosts, `${address} ${new URL(url).hostname}\n`);
    // The name is in a file that only wrk sees.
    const load = execa(
      "unshare",
      [
        ...["--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec wrk "$@"', hosts],
        ...["--connections", String(CONNECTIONS), "--threads", "1", "--duration", "3600s", "--timeout", TIMEOUT, url],
      ],
      { reject: false },
    );
    try {
      await act();
    } finally {
      load.kill("SIGINT");
    }
    const { stdout, stderr } = await load;
    const requests = /(\d+) requests in /.exec(stdout)?.[1];
    if (requests === undefined) throw new Error(`wrk: ${stderr}${stdout}`);
    const lost = [...stdout.matchAll(/^ *(Socket errors|Non-2xx or 3xx responses): .*$/gm)].map(([line]) =>
      line.trim(),
    );
    return { requests: Number(requests), lost: lost.join(", ") };
  } finally {
    await rm(folder, { recursive: true });
  }
}
