import http from "node:http";
import https from "node:https";

import type { Problem } from "./check.ts";

/** In bytes: twice what Cloudflare accepts on its free plans, and below what the backend accepts. */
const LARGE = 200_000_000;

/** How long to wait for an answer, and for one after the permission to send the body, in milliseconds. */
const PATIENCE = { answer: 10_000, refusal: 2000 };

/**
 * Checks whether a proxy before the backend refuses large uploads: announces one, and never sends it. Only the API takes
 * uploads. The backend itself refuses this one, because it has no token.
 *
 * @param origin  the API's URL
 */
export async function examineUploads(origin: string): Promise<Problem[]> {
  const url = `${origin}/api/storage/upload`;
  if ((await announce(url)) !== 413) return [];
  return [
    {
      symptom: `${url} refuses an upload of 200 MB (413)`,
      cause: "a proxy before the backend limits the size of requests",
      cure: "raise the limit there; for nginx: client_max_body_size 0; Cloudflare refuses more than 100 MB on its free plans: let the API's name lead to the droplet without its proxy",
    },
  ];
}

/** The status of the answer to the headers; undefined without any. */
async function announce(url: string): Promise<number | undefined> {
  const headers = { "content-length": LARGE, "content-type": "application/octet-stream", expect: "100-continue" };
  const { request } = url.startsWith("https:") ? https : http;
  return new Promise((resolve) => {
    const sent = request(url, { method: "POST", headers, agent: false });
    const end = (status?: number) => {
      clearTimeout(timer);
      sent.destroy();
      resolve(status);
    };
    let timer = setTimeout(end, PATIENCE.answer);
    sent.on("continue", () => {
      clearTimeout(timer);
      timer = setTimeout(end, PATIENCE.refusal);
    });
    sent.on("response", ({ statusCode }) => {
      end(statusCode);
    });
    sent.on("error", () => {
      end();
    });
    sent.flushHeaders();
  });
}
