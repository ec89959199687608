import { isIP } from "node:net";

// Computes the network of an IPv6 address, which Node's `net` cannot.
import ipaddr from "ipaddr.js";

import { setWith } from "../reader.ts";
import type { Fault, Reader } from "../reader.ts";

/** All addresses. */
export const EVERYWHERE = ["0.0.0.0/0", "::/0"];

const EXAMPLE = "203.0.113.0/24";

/**
 * A list of networks in the form that a firewall accepts: with a prefix length, and no bits set after the prefix.
 *
 * @param emptyMeans  if an empty list is a mistake: why
 */
export function readNetworks(read: Reader, key: string, emptyMeans?: string): string[] {
  const example = setWith(`${key}[0]`, EXAMPLE);
  const networks = read.list(key, networkFault, `networks such as ${EXAMPLE}`, example);
  if (networks === undefined) return [];
  if (networks.length === 0) {
    if (emptyMeans !== undefined) read.refuse(key, { sentence: `is empty, ${emptyMeans}.`, fix: example });
  } else if (networks.every((network) => network.includes(":"))) {
    read.refuse(key, {
      sentence: "has no IPv4 network, it should have one: a droplet has no IPv6 address that these could reach.",
      fix: setWith(`${key}[${networks.length}]`, EXAMPLE),
    });
  }
  return networks;
}

/** What is wrong with a network. Node checks the address first, because ipaddr.js reads 010.0.0.0 as 8.0.0.0. */
function networkFault(text: string): Fault | undefined {
  const [, address = "", length] = /^([^/%]*)(?:\/(\d+))?$/.exec(text) ?? [];
  const bits = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  const prefix = Number(length ?? 0);
  if (prefix > bits) {
    return { sentence: `"${text}" is not valid, it should be a network such as ${EXAMPLE}.`, value: EXAMPLE };
  }
  const single = `${address}/${bits}`;
  if (length === undefined) {
    return { sentence: `"${text}" is not valid, it should be ${single} for the one address.`, value: single };
  }
  const network = networkOf(address, prefix);
  if (network.toString() !== ipaddr.parse(address).toString()) {
    const whole = `${network.toString()}/${prefix}`;
    return {
      sentence: `"${text}" has bits set after its prefix, it should be ${whole}, or ${single} for the one address.`,
      // After an IPv6 address, 32 is a habit from IPv4: the network would be the provider's whole one.
      value: bits === 128 && prefix === 32 ? single : whole,
    };
  }
  const plain = `${address}/${prefix}`;
  return plain === text ? undefined : { sentence: `"${text}" is not valid, it should be ${plain}.`, value: plain };
}

function networkOf(address: string, prefix: number) {
  const { IPv4, IPv6 } = ipaddr;
  return (isIP(address) === 4 ? IPv4 : IPv6).networkAddressFromCIDR(`${address}/${prefix}`);
}
