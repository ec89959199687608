import { readFile } from "node:fs/promises";
import path from "node:path";
import tls from "node:tls";

import { acmeAuthority } from "../../sandbox/droplet/acme-server.ts";
import type { TestCloud } from "./harness.ts";
import { DNS_PORT } from "./resolve.ts";

const usual = tls.getCACertificates("default");

/**
 * Makes this process find the names of a cloud's domains, and trust their certificates. Call it after `useDomain`.
 *
 * @returns the environment in which Node programs do the same
 */
export async function useNames({ home }: TestCloud): Promise<Record<string, string>> {
  const authority = acmeAuthority(home);
  process.env[DNS_PORT] = String(home.dnsPort);
  tls.setDefaultCACertificates([...usual, await readFile(authority, "utf8")]);
  return {
    [DNS_PORT]: String(home.dnsPort),
    NODE_OPTIONS: `--import ${path.resolve("test/e2e/resolve.ts")}`,
    NODE_EXTRA_CA_CERTS: authority,
  };
}
