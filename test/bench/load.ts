import http from "node:http";
import https from "node:https";
import { text } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";

import { median } from "./statistics.ts";

/** What to ask, and for how long. */
export interface Load {
  url: string;
  /** The name that the server is asked for; the URL has its address. */
  host: string;
  body: string;
  connections: number;
  /** Requests a second of each connection at most; without it, a connection asks again as soon as it has its answer. */
  perSecond?: number;
  seconds: number;
}

/** What came of it. */
export interface Answered {
  perSecond: number;
  /** Milliseconds until half of all requests, and 99 of 100, were answered. */
  p50: number;
  p99: number;
}

// A process of its own, which runs in a droplet's network: sends a request again and again over connections that stay open, and
// prints the result as JSON. Each connection has its own loopback address, because nginx limits the requests of an address.
const load = JSON.parse(process.argv[2] ?? "") as Load;

const times: number[] = [];
const warm = performance.now() + 2000;
const end = warm + load.seconds * 1000;
await Promise.all(Array.from({ length: load.connections }, (_, index) => keepAsking(`127.0.1.${index + 1}`)));
times.sort((left, right) => left - right);
const answered: Answered = {
  perSecond: times.length / load.seconds,
  p50: median(times),
  p99: times[Math.floor(times.length * 0.99)] ?? NaN,
};
process.stdout.write(JSON.stringify(answered));

async function keepAsking(localAddress: string): Promise<void> {
  const { Agent, request } = load.url.startsWith("https:") ? https : http;
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const options = {
    ...{ agent, localAddress, method: "POST", servername: load.host },
    headers: { host: load.host, "content-type": "application/json", "content-length": Buffer.byteLength(load.body) },
  };
  const ask = () =>
    new Promise<number | undefined>((resolve, reject) => {
      const asking = request(load.url, options, (response) => {
        void text(response).then(() => {
          resolve(response.statusCode);
        }, reject);
      });
      asking.on("error", reject).end(load.body);
    });
  const interval = 1000 / (load.perSecond ?? Infinity);
  for (let start = performance.now(); start < end; start = performance.now()) {
    const status = await ask();
    if (status !== 200) throw new Error(`${load.url}: answered ${status}`);
    const now = performance.now();
    if (start >= warm && now < end) times.push(now - start);
    if (now - start < interval) await setTimeout(start + interval - now);
  }
  agent.destroy();
}
