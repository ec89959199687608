/**
 * Turns a computer's Debian mirrors into apt's lines for another release of Debian.
 *
 * @param targets what apt knows of each package list, `<origin>|<address>|<codename>|<component>` a line. Debian's own
 *   count; those of others and the suites beyond updates and security (backports, proposed updates) do not.
 * @throws when there is no Debian mirror among them, as before the first `apt-get update`.
 */
export function foldSources(targets: string, release: string): string {
  const sources = targets
    .split("\n")
    .map((target) => /^Debian\|([^|]+)\|[a-z]+(-updates|-security)?\|([^|]+)$/.exec(target))
    .filter((match) => match !== null)
    .map(([, address, suite = "", component]) => `deb ${address} ${release}${suite} ${component}`);
  if (sources.length === 0) {
    throw new Error("apt: it knows no Debian mirror, but the droplet image is made from one. Run: apt-get update");
  }
  return [...new Set(sources)].sort().join("\n") + "\n";
}
