import type { Reader } from "./reader.ts";

/** The droplet's ports, each one's own. */
export function readPorts<Key extends string>(read: Reader, keys: Key[]): Record<Key, number> {
  const ports = keys.map((key) => read.integer(key, 1024, 65535));
  keys.forEach((key, index) => {
    const port = ports[index] ?? 0;
    const twin = keys[ports.indexOf(port)];
    if (twin !== undefined && twin !== key) {
      const sentence = `${port} is ${twin} too, it should be a port of its own.`;
      read.refuse(key, { sentence, value: String(port + 10) });
    } else if (port === 5432) {
      read.refuse(key, { sentence: "5432 is PostgreSQL's, it should be another port.", value: "3210" });
    }
  });
  return Object.fromEntries(keys.map((key, index) => [key, ports[index]])) as Record<Key, number>;
}
