import { Resolver } from "node:dns/promises";
import { readFile, writeFile } from "node:fs/promises";

import { parseDocument } from "yaml";

import { cloudToken } from "./cloud/token.ts";
import { acmeAuthority } from "./droplet/acme-server.ts";
import type { AcmeAccess } from "./droplet/hypervisor.ts";
import type { SandboxHome } from "./home.ts";
import { stackFile } from "./project.ts";
import { getOverTls } from "./tls-client.ts";

/**
 * Puts a stack under a domain of the sandbox's cloud, with certificates of its ACME server, which it starts. A stack that
 * uses this server already gets its present authorities, because they change when the cloud restarts. Other stacks stay as
 * they are.
 *
 * @param domain  for example `convex.test`; if absent, the stack's domain stays
 */
export async function useDomain(home: SandboxHome, stack: string, domain?: string): Promise<void> {
  const file = stackFile(home, stack);
  const document = parseDocument(await readFile(file, "utf8"));
  const pathOf = (setting: string) => ["config", `convex-droplet:${setting}`];
  const used = document.getIn(pathOf("acmeDirectory"));
  if (domain === undefined && used === undefined) return;
  const { directory, authority } = await startAcmeServer(home);
  if (domain === undefined && used !== directory) return;
  const settings = {
    ...(domain !== undefined && { domain, createDnsZone: true, acmeDirectory: directory }),
    acmeAuthority: authority,
  };
  for (const [setting, value] of Object.entries(settings)) document.setIn(pathOf(setting), value);
  await writeFile(file, document.toString());
}

/** Gets a URL of the sandbox's domains: finds its address with the sandbox's name server, and trusts its authorities. */
export async function getByDomain(home: SandboxHome, url: string): Promise<{ status: number; body: string }> {
  const authority = await readFile(acmeAuthority(home), "utf8");
  return getOverTls(url, { authority, address: await addressOf(home, new URL(url).hostname) });
}

/** How programs on this computer can use these of the URLs that are on the sandbox's domains: rows of purpose and command. */
export async function accessOverTls(home: SandboxHome, urls: unknown[]): Promise<string[][]> {
  const hosts = [...new Set(urls.filter((url) => isTls(url)).map((url) => new URL(url).hostname))];
  const [first] = hosts;
  if (first === undefined) return [];
  const address = await addressOf(home, first).catch(() => "ADDRESS");
  const authority = acmeAuthority(home);
  return [
    ["one request", `curl --cacert ${authority} --resolve ${first}:443:${address} https://${first}/version`],
    ["all names", `echo "${[address, ...hosts].join(" ")}" >> /etc/hosts`],
    ["trust, in Node", `export NODE_EXTRA_CA_CERTS=${authority}`],
  ];
}

async function startAcmeServer(home: SandboxHome): Promise<AcmeAccess> {
  const answer = await fetch(`http://127.0.0.1:${home.apiPort}/_control/acme`, {
    method: "POST",
    headers: { authorization: `Bearer ${await cloudToken(home)}` },
  });
  if (!answer.ok) throw new Error(`the ACME server does not start. See: npm run sandbox -- logs cloud`);
  return (await answer.json()) as AcmeAccess;
}

async function addressOf(home: SandboxHome, name: string): Promise<string> {
  const resolver = new Resolver({ timeout: 500, tries: 2 });
  resolver.setServers([`127.0.0.1:${home.dnsPort}`]);
  const [address = ""] = await resolver.resolve4(name);
  return address;
}

function isTls(url: unknown): url is string {
  return typeof url === "string" && url.startsWith("https://");
}
