import { isIPv4, isIPv6 } from "node:net";

import { setWith } from "./reader.ts";
import type { Fault, Reader } from "./reader.ts";

/**
 * A list of networks.
 *
 * @param emptyMeans  what is wrong with an empty list, where that is a mistake
 */
export function readNetworks(read: Reader, key: string, emptyMeans?: string): string[] {
  const networks = read.list(
    key,
    networkFault,
    "networks such as 203.0.113.0/24",
    setWith(`${key}[0]`, "203.0.113.0/24"),
  );
  if (networks?.length === 0 && emptyMeans !== undefined) {
    read.refuse(key, { sentence: `is empty, ${emptyMeans}.`, fix: setWith(`${key}[0]`, "203.0.113.0/24") });
  }
  return networks ?? [];
}

function networkFault(text: string): Fault | undefined {
  const [address = "", prefix = "", ...rest] = text.split("/");
  const isNumber = rest.length === 0 && /^\d{1,3}$/.test(prefix);
  const isNetwork = (isIPv4(address) && Number(prefix) <= 32) || (isIPv6(address) && Number(prefix) <= 128);
  return isNumber && isNetwork
    ? undefined
    : { sentence: `"${text}" is not valid, it should be a network such as 203.0.113.0/24.`, value: "203.0.113.0/24" };
}
