import { integerFault } from "../reader.ts";
import type { Reader } from "../reader.ts";

const MIN = 1024;
const MAX = 65535;
const POSTGRES = 5432;

/** The droplet's ports, which must differ. The proposed ones differ too. */
export function readPorts<Key extends string>(read: Reader, keys: Key[]): Record<Key, number> {
  const texts = keys.map((key) => read.raw(key));
  const taken = new Set([POSTGRES, ...texts.map(Number)]);
  keys.forEach((key, index) => {
    const text = texts[index] ?? "";
    const sentence = integerFault(text, MIN, MAX)?.sentence ?? sharedPort(text, keys[texts.indexOf(text)] ?? key, key);
    if (sentence === undefined) return;
    const free = freePort(Number(text), taken);
    taken.add(free);
    read.refuse(key, { sentence, value: String(free) });
  });
  return Object.fromEntries(keys.map((key, index) => [key, Number(texts[index])])) as Record<Key, number>;
}

/** A port on the computer that runs Pulumi, where only root may use the low ones; 0 is none. */
export function readTunnelPort(read: Reader, key: string): number {
  const port = read.integer(key, 0, MAX);
  if (port > 0 && port < MIN) {
    read.refuse(key, { sentence: `${port} is below ${MIN}, it should be 0 or one from ${MIN} to ${MAX}.`, value: "0" });
  }
  return port;
}

function sharedPort(text: string, owner: string, key: string): string | undefined {
  if (owner !== key) return `${text} is also ${owner}, it should be another port.`;
  return Number(text) === POSTGRES ? `${text} is PostgreSQL's, it should be another port.` : undefined;
}

/** The next port that is not taken. After the last port come the first ones again. */
function freePort(wanted: number, taken: Set<number>): number {
  let port = wanted >= MIN && wanted <= MAX ? wanted : MIN;
  while (taken.has(port)) port = port === MAX ? MIN : port + 1;
  return port;
}
