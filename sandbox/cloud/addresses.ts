import { unprocessable } from "./errors.ts";

/**
 * Droplets have hosts 1 to 199 of the sandbox's network, database servers 200 to 250, reserved addresses 251 to 253; 254 is
 * the gateway that clients are shown. Only the public IPv4 addresses answer. The private and the IPv6 address only have the right form.
 */
const MAX_HOST = 199;

const DATABASE_HOSTS = Array.from({ length: 51 }, (_, index) => 200 + index);
const FIRST_RESERVED_IP = 251;

/** How many reserved addresses an account may have. */
export const MAX_RESERVED_IPS = 3;

/** The lowest host that is not in `taken`. */
export function lowestFreeHost(taken: number[]): number {
  for (let host = 1; host <= MAX_HOST; host++) {
    if (!taken.includes(host)) return host;
  }
  throw unprocessable(`The sandbox has room for ${MAX_HOST} droplets. Delete one first.`);
}

/** As many hosts for database servers as asked for, the lowest that are not in `taken`. */
export function freeDatabaseHosts(taken: number[], count: number): number[] {
  const free = DATABASE_HOSTS.filter((host) => !taken.includes(host)).slice(0, count);
  if (free.length === count) return free;
  throw unprocessable(`The sandbox has room for ${DATABASE_HOSTS.length} database servers. Delete a cluster first.`);
}

/** The lowest reserved address that is not in `taken`; undefined if the account has as many as it may. */
export function freeReservedAddress(prefix: string, taken: string[]): string | undefined {
  return Array.from({ length: MAX_RESERVED_IPS }, (_, index) => `${prefix}.${FIRST_RESERVED_IP + index}`).find(
    (address) => !taken.includes(address),
  );
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
