import { afterAll, beforeAll, describe, expect, test } from "vitest";

import type { DropletSpec } from "../../sandbox/droplet/hypervisor.ts";
import { type Lab, openLab } from "./droplet-harness.ts";

const URL = "https://nyc3.digitaloceanspaces.com/a-bucket";

/** Says on a droplet what it gets from a URL: the server's answer, or curl's exit code. */
const curl = (url: string) => `curl -s --max-time 10 ${url} || echo "exit $?"`;

describe("a droplet", () => {
  let lab: Lab;
  let droplet: DropletSpec;

  beforeAll(async () => {
    lab = await openLab();
    droplet = lab.spec(1);
    await lab.room.createDroplet(droplet);
    await lab.booted(droplet);
    await serve();
  });
  afterAll(() => lab[Symbol.asyncDispose]());

  function serve(): Promise<void> {
    return lab.room.serveSpaces((request, response) => {
      response.end(`${request.headers.host ?? ""} ${request.url ?? ""}\n`);
    });
  }

  test("reaches Spaces at their names, and trusts their certificate, without any setting", async () => {
    expect(await lab.ssh(droplet, curl(URL))).toBe("nyc3.digitaloceanspaces.com /a-bucket");
    expect(await lab.ssh(droplet, curl("https://a-bucket.fra1.digitaloceanspaces.com/key"))).toBe(
      "a-bucket.fra1.digitaloceanspaces.com /key",
    );
    const verify = "openssl s_client -verify_return_error -connect nyc3.digitaloceanspaces.com:443 </dev/null";
    expect(await lab.ssh(droplet, `${verify} 2>/dev/null | grep Verif`)).toContain("Verification: OK");
  });

  test("still trusts it after an upgrade of the public authorities", async () => {
    await lab.ssh(droplet, "update-ca-certificates --fresh");
    expect(await lab.ssh(droplet, curl(URL))).toContain("/a-bucket");
  });

  test("finds other names, and those of domains, as before", async () => {
    const lines = ["$ORIGIN convex.test.", "$TTL 60", "@ IN SOA ns1.convex.test. hostmaster.convex.test. 1 1 1 1 1"];
    const file = `${[...lines, "@ IN NS ns1.digitalocean.com.", "www IN A 192.0.2.7"].join("\n")}\n`;
    await lab.room.serveZones([{ name: "convex.test", serial: 1, file }]);
    expect(await lab.ssh(droplet, "getent hosts www.convex.test")).toContain("192.0.2.7");
    await lab.room.serveZones([]);
    expect(await lab.ssh(droplet, curl(URL))).toContain("/a-bucket");
  });

  test("gets no connection after its machine room ended, and the same Spaces from the next one", async () => {
    await lab.reopen(async () => {
      expect(await lab.ssh(droplet, curl(URL))).toMatch(/^exit (6|7|28)$/);
    });
    await serve();
    expect(await lab.ssh(droplet, curl(URL))).toContain("/a-bucket");
  });

  test("trusts it from its first boot if Spaces are in use already", async () => {
    const later = lab.spec(2);
    await lab.room.createDroplet(later);
    await lab.booted(later);
    expect(await lab.ssh(later, curl(URL))).toContain("/a-bucket");
  });
});
