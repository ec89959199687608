import type { ResourceValidationArgs } from "@pulumi/policy";
import ipaddr from "ipaddr.js";

import { TYPES } from "../contract/names.ts";
import { inputsOf, isKnown, listIn } from "./resource.ts";

/** A rule of a droplet's firewall that lets traffic in. */
interface InboundRule {
  protocol: string;
  portRange: string;
  sourceAddresses: string[];
}

/** What a firewall lets in: TCP ports, both included, and from which networks. */
interface Opening {
  /** For messages, for example `inboundRules[0]`. */
  path: string;
  first: number;
  last: number;
  networks: string[];
}

/** The openings of a droplet's firewall; none for another resource. */
export function openingsOf(args: ResourceValidationArgs): Opening[] {
  if (args.type !== TYPES.firewall) return [];
  return listIn<InboundRule>(inputsOf(args), "inboundRules").flatMap(
    ({ protocol, portRange = "all", sourceAddresses = [] }, index) => {
      if (protocol !== "tcp" || !isKnown(portRange) || !Array.isArray(sourceAddresses)) return [];
      // DigitalOcean also reads 0 as all.
      const [first = 0, last = first] = /^(all|0)$/.test(portRange) ? [1, 65_535] : portRange.split("-").map(Number);
      return [{ path: `inboundRules[${index}]`, first, last, networks: sourceAddresses.filter(isKnown) }];
    },
  );
}

/** Ranges that no router of the internet forwards. */
const PRIVATE = ["private", "loopback", "linkLocal", "uniqueLocal", "carrierGradeNat"];

/** Whether a network, or an address, has public addresses. */
export function isPublic(network: string): boolean {
  const [from, to] = ends(network);
  return !(from.range() === to.range() && PRIVATE.includes(from.range()));
}

/** Whether a network has so many addresses that it names nobody: more than an IPv4 provider's largest, or a continent of IPv6. */
export function isWorld(network: string): boolean {
  const [address, length] = network.includes("/") ? ipaddr.parseCIDR(network) : [ipaddr.parse(network), 128];
  return isPublic(network) && length < (address.kind() === "ipv4" ? 8 : 16);
}

function ends(network: string): [ipaddr.IPv4 | ipaddr.IPv6, ipaddr.IPv4 | ipaddr.IPv6] {
  if (!network.includes("/")) return [ipaddr.parse(network), ipaddr.parse(network)];
  const { IPv4, IPv6 } = ipaddr;
  const family = network.includes(":") ? IPv6 : IPv4;
  return [family.networkAddressFromCIDR(network), family.broadcastAddressFromCIDR(network)];
}
