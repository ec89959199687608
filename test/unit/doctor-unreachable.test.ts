import dns from "node:dns/promises";

import { afterEach, expect, it, vi } from "vitest";

import { type Asked, explain, leadsAstray } from "../../operations/doctor/unreachable.ts";

const lookup = vi.spyOn(dns, "lookup");

afterEach(() => {
  lookup.mockReset();
});

const EDGE = { hosts: ["api.example.com"], address: "192.0.2.7", hasProxies: false };
const named: Asked = { stack: "dev", edge: EDGE };
const proxied: Asked = { stack: "dev", edge: { ...EDGE, hasProxies: true } };
const unnamed: Asked = { stack: "dev", edge: undefined };
const URL = "https://api.example.com/instance_name";

/** The failure of a fetch. */
const failure = (code?: string) =>
  code === undefined
    ? new DOMException("timeout", "TimeoutError")
    : new TypeError("fetch failed", { cause: Object.assign(new Error(code), { code }) });
const leads = (...addresses: string[]) =>
  lookup.mockResolvedValue(addresses.map((address) => ({ address, family: 4 })) as never);
const told = async (url: string, code: string | undefined, asked: Asked) => {
  const { cause, cure } = await explain(url, failure(code), asked);
  return `${cause}: ${cure}`;
};

it.each<[code: string | undefined, asked: Asked, expected: RegExp]>([
  ["CERT_HAS_EXPIRED", named, /certificate has expired.*--replace '\*\*convex-edge'$/],
  ["CERT_HAS_EXPIRED", proxied, /renew it at the proxy that serves api.example.com$/],
  ["CERT_NOT_YET_VALID", named, /this computer's clock is behind.*: set this computer's clock$/],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", named, /does not trust the certificate.*NODE_EXTRA_CA_CERTS=authority.pem/],
  ["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", named, /staging authority.*config rm --stack dev acmeDirectory/],
  ["ERR_TLS_CERT_ALTNAME_INVALID", named, /certificate is for other names.*convex-edge/],
  ["ERR_TLS_CERT_ALTNAME_INVALID", unnamed, /get a certificate for api.example.com at the proxy/],
  ["ERR_SSL_TLSV1_UNRECOGNIZED_NAME", named, /does not serve this name.*convex-edge/],
  ["ECONNREFUSED", named, /nginx is stopped: npx pulumi up --stack dev --replace '\*\*convex-edge'$/],
  ["ECONNREFUSED", unnamed, /nothing listens at port 443: start the proxy that serves api.example.com$/],
  [
    "UND_ERR_CONNECT_TIMEOUT",
    named,
    /port 443 is closed to this computer.*cloud.convex-https-firewall and cloud.convex-reserved-ip/,
  ],
  [undefined, named, /port 443 is closed to this computer: allowedCidrs/],
  [undefined, unnamed, /^if all checks before.*cloud.convex-public-firewall; to add a network/],
])("an HTTPS URL that fails with %s is explained: %j", async (code, asked, expected) => {
  leads("192.0.2.7");
  expect(await told(URL, code, asked)).toMatch(expected);
});

it("a URL of the droplet's address needs no look-up", async () => {
  expect(await told("http://192.0.2.7:3210/", "ECONNREFUSED", unnamed)).toMatch(
    /^if all checks.*convex-public-firewall/,
  );
  expect(await told("http://127.0.0.1:3210/", "ECONNREFUSED", named)).toMatch(/only through a tunnel.*npm run tunnel/);
  expect(lookup).not.toHaveBeenCalled();
});

it.each<[code: string, asked: Asked, expected: RegExp]>([
  [
    "ENOTFOUND",
    named,
    /has no record, or .* does not know it yet.*make the record A api.example.com 192.0.2.7: see what npm run drift/,
  ],
  ["ENOTFOUND", unnamed, /make the record A api.example.com: see what/],
  ["EAI_AGAIN", named, /this computer's name servers do not answer.*nslookup api.example.com$/],
])("a name that cannot be looked up is explained before TLS: %s", async (code, asked, expected) => {
  lookup.mockRejectedValue(Object.assign(new Error(code), { code }));
  expect(await told(URL, "CERT_HAS_EXPIRED", asked)).toMatch(expected);
});

it.each<[addresses: string[], asked: Asked, isAstray: boolean]>([
  [["192.0.2.7"], named, false],
  [["192.0.2.7", "64:ff9b::c000:207"], named, false],
  [["198.51.100.1"], named, true],
  [["192.0.2.7", "2001:db8::1"], named, true],
  [["198.51.100.1"], proxied, false],
  [["198.51.100.1"], unnamed, false],
])(
  "a name with the addresses %j leads astray only if it is the stack's and nothing is in front: %j",
  async (addresses, asked, isAstray) => {
    leads(...addresses);
    const found = await leadsAstray("api.example.com", asked);
    expect(found?.cause).toBe(
      isAstray
        ? `from here, the name leads to ${addresses.filter((address) => address !== "192.0.2.7").join(" and ")}, it should lead only to 192.0.2.7`
        : undefined,
    );
  },
);
