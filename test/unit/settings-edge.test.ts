import * as pulumi from "@pulumi/pulumi";
import { beforeEach, describe, expect, it } from "vitest";

import { loadSettings } from "../../settings/load.ts";
import { configure, mistakesOf, mockEngine, valueOf } from "./program.ts";

const DOMAIN = "example.com";

/** An authority's certificate, valid until 2126. */
const ROOT = `-----BEGIN CERTIFICATE-----
MIIBiDCCAS+gAwIBAgIUET7APrZDxhNhACeNfXt5euVHfrEwCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOdGVzdCBhdXRob3JpdHkwIBcNMjYxMTI2MTUwODM4WhgPMjEy
NjExMDIxNTA4MzhaMBkxFzAVBgNVBAMMDnRlc3QgYXV0aG9yaXR5MFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAENjvrtwHRE1fsVfnyy2aA/221O5ICT5m0N16Ii5h4
FlvRttN+IaYA66jNUM1qNuoZ0fT8Gu6SVkSnwSVVUgc6bKNTMFEwHQYDVR0OBBYE
FL8gZc72pUUU2HnS+dWBPDOgfq3VMB8GA1UdIwQYMBaAFL8gZc72pUUU2HnS+dWB
PDOgfq3VMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgVPiz/6zT
lldnc0QsSEdVvZ1QYscfwc88V57wvS1+1Z8CIETuKrPlN7t4+H7M8J/f3pf65kN9
insa24K9VJ0sFN6v
-----END CERTIFICATE-----
`;

beforeEach(async () => {
  await mockEngine();
});

function exposureOf(overrides: Record<string, unknown>) {
  configure(overrides);
  return loadSettings().exposure;
}

/** The settings of the mistakes, in their order. */
function refused(overrides: Record<string, unknown>): string[] {
  return mistakesOf(overrides).map((line) => /^convex-droplet:([\w[\]]+): /.exec(line)?.[1] ?? line);
}

describe("a domain", () => {
  it("gives names to API and HTTP actions, which everybody may reach over HTTPS, and nobody in another way", async () => {
    const { hosts, openings, bindAddress, originsAt } = exposureOf({ domain: DOMAIN });
    expect(hosts).toEqual({ api: "api.example.com", site: "site.example.com", dashboard: undefined });
    expect(openings).toEqual([{ port: 443, networks: ["0.0.0.0/0", "::/0"] }]);
    expect(bindAddress).toBe("127.0.0.1");
    const { cloud, site } = originsAt(pulumi.output("192.0.2.1"));
    expect([await valueOf(cloud), await valueOf(site)]).toEqual([
      "https://api.example.com",
      "https://site.example.com",
    ]);
  });

  it("is only for the allowed networks if there are some", () => {
    expect(exposureOf({ domain: DOMAIN, allowedCidrs: ["198.51.100.0/24"] }).openings).toEqual([
      { port: 443, networks: ["198.51.100.0/24"] },
    ]);
  });

  it("leaves a host or a URL that is set as it is", async () => {
    const { hosts, originsAt } = exposureOf({
      ...{
        domain: DOMAIN,
        siteHost: DOMAIN,
        cloudOrigin: "https://convex.example.com",
        dashboardHost: "admin.example.com",
      },
      dashboardAccess: "password",
    });
    expect(hosts).toEqual({ api: "convex.example.com", site: "example.com", dashboard: "admin.example.com" });
    expect(await valueOf(originsAt(pulumi.output("192.0.2.1")).cloud)).toBe("https://convex.example.com");
  });

  it("serves its own name behind a proxy with another port", () => {
    expect(exposureOf({ domain: DOMAIN, cloudOrigin: "https://convex.example.com:8443" }).hosts?.api).toBe(
      "api.example.com",
    );
  });

  it.each([
    ["https://example.com", '"https://example.com" is more than a name', "example.com"],
    ["https://app.example.com/x", '"https://app.example.com/x" is more than a name', "app.example.com"],
    ["example.com:443", '"example.com:443" is more than a name', "example.com"],
    ["203.0.113.7", '"203.0.113.7" is an address, for which there is no certificate', "example.com"],
    ["[2001:db8::1]", '"[2001:db8::1]" is an address, for which there is no certificate', "example.com"],
    ["*.example.com", '"*.example.com" is a wildcard, for which this program gets no certificate', "example.com"],
    ["bücher.example", '"bücher.example" is not valid', "xn--bcher-kva.example"],
    ["Example.COM", '"Example.COM" is not valid', "example.com"],
    ["example.com.", '"example.com." is not valid', "example.com"],
    ["localhost", '"localhost" is not valid', "example.com"],
    ["my_app.example.com", '"my_app.example.com" is not valid', "example.com"],
    ["example.123", '"example.123" is not valid', "example.com"],
  ])("%s is refused", (domain, fault, proposal) => {
    expect(mistakesOf({ domain })).toEqual([
      `convex-droplet:domain: ${fault}, it should be a name such as example.com. Set it with: npx pulumi config set --stack test domain ${proposal}`,
    ]);
  });

  it("of 254 characters is refused, and so is one whose names would have more than 253", () => {
    const domain = `${"a".repeat(62)}.`.repeat(4).slice(0, 250);
    expect(mistakesOf({ domain: `${domain}.org` })).toEqual([
      expect.stringContaining("has 254 characters, and a name has at most 253"),
    ]);
    expect(mistakesOf({ domain: domain.slice(1) })).toEqual([
      expect.stringContaining("has 249 characters, it should have at most 248"),
    ]);
  });

  it.each([
    [{ apiHost: "site.example.com" }, ["siteHost"]],
    [{ apiHost: "dash.example.com", dashboardAccess: "password" }, ["dashboardHost"]],
    [{ siteHost: "api.example.com" }, ["siteHost"]],
    [{ dashboardHost: DOMAIN }, ["dashboardHost"]],
    [{ dashboardHost: "other.org", dns: "manual" }, ["dashboardHost"]],
    [{ dashboardHost: "*.example.com" }, ["dashboardHost"]],
    [{ cloudOrigin: "http://api.example.com" }, ["cloudOrigin"]],
    [{ siteOrigin: "http://198.51.100.1:3211" }, ["siteOrigin"]],
  ])("with %j is refused", (overrides, keys) => {
    expect(refused({ domain: DOMAIN, ...overrides })).toEqual(keys);
  });
});

describe("without a domain", () => {
  it.each([
    { apiHost: "api.example.com" },
    { siteHost: "site.example.com" },
    { dashboardHost: "dash.example.com" },
    { dashboardAccess: "password" },
  ])("%j has no effect, so it is refused", (overrides) => {
    expect(refused(overrides)).toEqual(Object.keys(overrides));
  });
});

describe("the dashboard", () => {
  it("is open to the listed networks", () => {
    const access = { dashboardAccess: "allowlist", dashboardCidrs: ["198.51.100.0/24"] };
    expect(exposureOf({ domain: DOMAIN, ...access })).toMatchObject({
      ...access,
      hosts: { dashboard: "dash.example.com" },
    });
  });

  it.each([
    [{ dashboardAccess: "allowlist" }, ["dashboardCidrs"]],
    [{ dashboardAccess: "password", dashboardCidrs: ["198.51.100.0/24"] }, ["dashboardCidrs"]],
    [{ dashboardAccess: "everybody" }, ["dashboardAccess"]],
  ])("with %j is refused", (overrides, keys) => {
    expect(refused({ domain: DOMAIN, ...overrides })).toEqual(keys);
  });
});

describe("the records", () => {
  it("are in the domain, unless another one contains the names", () => {
    configure({ domain: `app.${DOMAIN}` });
    expect(loadSettings().edge.dnsZone).toBe(`app.${DOMAIN}`);
    configure({ domain: `app.${DOMAIN}`, dnsZone: DOMAIN });
    expect(loadSettings().edge.dnsZone).toBe(DOMAIN);
  });

  it.each([
    [{ dnsZone: "other.org" }, ["dnsZone"]],
    [{ apiHost: "api.other.org" }, ["dnsZone"]],
    [{ apiHost: "api.notexample.com" }, ["dnsZone"]],
    [{ apiHost: "api.other.org", dns: "manual" }, []],
    [{ dns: "manual", createDnsZone: true }, ["createDnsZone"]],
    [{ dns: "route53" }, ["dns"]],
  ])("with %j", (overrides, keys) => {
    expect(refused({ domain: DOMAIN, ...overrides })).toEqual(keys);
  });
});

describe("the certificate", () => {
  it.each([
    ["acmeDirectory", "http://acme.example/directory"],
    ["acmeDirectory", "acme.example"],
    ["acmeEmail", "me"],
    ["acmeEmail", "me@example.com,you@example.com"],
    ["acmeAuthority", "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----"],
    ["acmeAuthority", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"],
  ])("with %s %s is refused", (key, value) => {
    expect(refused({ domain: DOMAIN, [key]: value })).toEqual([key]);
    expect(mistakesOf({ domain: DOMAIN, [key]: value }).join("")).not.toContain("MIIB");
  });

  it("has a private authority in a file that is named after it", () => {
    expect(exposureOf({ domain: DOMAIN }).acmeAuthorityFile).toBeUndefined();
    const file = (acmeAuthority: string) => exposureOf({ domain: DOMAIN, acmeAuthority }).acmeAuthorityFile;
    expect(file(ROOT)).toMatch(/^\/usr\/local\/share\/ca-certificates\/convex-acme-[0-9a-f]{8}\.crt$/);
    expect(file(`${ROOT}${ROOT}`)).not.toBe(file(ROOT));
  });
});
