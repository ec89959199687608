import { unprocessable } from "./errors.ts";

/**
 * Droplets have hosts 1 to 253 of the sandbox's network; 254 is the gateway that clients are shown. Only the public IPv4
 * address answers. The private and the IPv6 address only have the right form.
 */
const MAX_HOST = 253;

/** The lowest host that is not in `taken`. */
export function lowestFreeHost(taken: number[]): number {
  for (let host = 1; host <= MAX_HOST; host++) {
    if (!taken.includes(host)) return host;
  }
  throw unprocessable(`The sandbox has room for ${MAX_HOST} droplets. Delete one first.`);
}

/** Host 0 is the gateway. */
export function publicAddress(prefix: string, host: number): string {
  return `${prefix}.${host === 0 ? 254 : host}`;
}

/** In 10.116.0.0/20; host 0 is the gateway. */
export function privateAddress(host: number): string {
  return `10.116.0.${host + 1}`;
}

/** In the documentation's 2001:db8::/64; host 0 is the gateway. */
export function v6Address(host: number): string {
  return `2001:db8::${(host + 1).toString(16)}`;
}
