import { writeFile, rm } from "node:fs/promises";
import { execa } from "execa";

/** The release of everything that the sandbox makes from Debian packages. */
export const DEBIAN_RELEASE = "trixie";

/**
 * Makes a Debian root file system as a tar archive, from the package mirrors that this computer uses.
 *
 * @param options options of mmdebstrap: variant, packages, hooks
 * @param onProgress gets one line for each step
 */
export async function makeDebianArchive(
  archive: string,
  options: string[],
  onProgress: (step: string) => void,
): Promise<void> {
  const settings = `${archive}.apt.conf`;
  // It may contain a proxy's password.
  await writeFile(settings, await aptSettings(), { mode: 0o600 });
  try {
    const build = execa("mmdebstrap", [`--aptopt=${settings}`, ...options, DEBIAN_RELEASE, archive, "-"], {
      input: await aptSources(),
    });
    for await (const line of build.iterable({ from: "stderr" })) {
      if (line.startsWith("I: ")) onProgress(line.slice(3));
    }
    await build;
  } finally {
    await rm(settings, { force: true });
  }
}

/** This computer's Debian mirrors, as lines of a sources.list for the release. */
export async function aptSources(): Promise<string> {
  const format = "$(ORIGIN)|$(REPO_URI)|$(CODENAME)|$(COMPONENT)";
  const { stdout } = await execa("apt-get", ["indextargets", "--format", format, "Created-By: Packages"]);
  return foldSources(stdout, DEBIAN_RELEASE);
}

/** This computer's settings for its mirrors: proxies, certificates, checks. */
export async function aptSettings(): Promise<string> {
  const { stdout } = await execa("apt-config", ["dump", "Acquire"]);
  return stdout.replace(/^(?!Acquire::(https?|Check|Force|Retries|Max-)).*\n?/gm, "");
}

/**
 * Turns a computer's Debian mirrors into lines of a sources.list for another release of Debian.
 *
 * @param targets one line for each package list: `<origin>|<address>|<codename>|<component>`. Lists of other origins, and
 *   suites other than updates and security (backports, proposed updates), are ignored.
 * @throws Error if there is no Debian mirror, as before the first `apt-get update`
 */
export function foldSources(targets: string, release: string): string {
  const sources = targets
    .split("\n")
    .map((target) => /^Debian\|([^|]+)\|[a-z]+(-updates|-security)?\|([^|]+)$/.exec(target))
    .filter((match) => match !== null)
    .map(([, address, suite = "", component]) => `deb ${address} ${release}${suite} ${component}`);
  if (sources.length === 0) {
    throw new Error("apt: it knows no Debian mirror, but the droplet image needs one. Run: apt-get update");
  }
  return [...new Set(sources)].sort().join("\n") + "\n";
}
