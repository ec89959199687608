import https from "node:https";

const TIMEOUT_MILLISECONDS = 3000;

/**
 * Gets a URL over TLS as a client that trusts only these authorities.
 *
 * @param authority  the authorities' certificates, PEM
 * @param address    the IP address to connect to; if absent, the URL's host is one
 */
export function getOverTls(
  url: string,
  { authority, address }: { authority: string; address?: string },
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const { hostname, host } = new URL(url);
    const target = address === undefined ? {} : { hostname: address, servername: hostname, headers: { host } };
    const signal = AbortSignal.timeout(TIMEOUT_MILLISECONDS);
    https
      .get(url, { ca: authority, agent: false, signal, ...target }, (response) => {
        response.setEncoding("utf8").on("error", reject);
        void response.toArray().then((parts) => {
          resolve({ status: response.statusCode ?? 0, body: parts.join("") });
        }, reject);
      })
      .on("error", reject);
  });
}
