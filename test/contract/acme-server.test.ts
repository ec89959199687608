import { X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";

import { execa } from "execa";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { accessOverTls, getByDomain } from "../../sandbox/domain.ts";
import { acmeAuthority, AcmeServer } from "../../sandbox/droplet/acme-server.ts";
import type { AcmeAccess, DropletSpec, FirewallRule, ZoneSpec } from "../../sandbox/droplet/hypervisor.ts";
import { openMachineRoom } from "../../sandbox/droplet/machine-room.ts";
import { ensureNetwork } from "../../sandbox/droplet/network.ts";
import { removeEverything } from "../../sandbox/droplet/remove.ts";
import { getOverTls } from "../../sandbox/tls-client.ts";
import { waitFor } from "../../sandbox/wait-for.ts";
import { temporaryHome } from "./cloud-harness.ts";
import { knock, type Lab, openLab } from "./droplet-harness.ts";

const ANYWHERE = ["0.0.0.0/0"];
const NAMES = ["convex.test", "api.convex.test", "actions.convex.test"];
const DAY = 24 * 3600 * 1000;

describe("the ACME server", () => {
  let lab: Lab;
  let droplet: DropletSpec;
  let acme: AcmeAccess;

  beforeAll(async () => {
    lab = await openLab();
    droplet = lab.spec(1);
    await lab.room.createDroplet(droplet);
    await lab.booted(droplet);
    await lab.ssh(droplet, "apt-get -qq update && apt-get -qq install -y --no-install-recommends certbot openssl");
    await lab.ssh(droplet, "mkdir /srv/web && systemd-run -q python3 -m http.server 80 --directory /srv/web");
    await waitFor("port 80 to be open", 20, async () => (await knock(droplet.publicAddress, 80)) === "open");
  });
  afterAll(() => lab[Symbol.asyncDispose]());
  beforeEach(async () => {
    await lab.room.serveZones([zone()]);
    acme = await lab.room.serveAcme();
  });
  afterEach(() => lab.room.applyFirewalls([]));

  function zone(): ZoneSpec {
    const lines = [
      "$ORIGIN convex.test.\n$TTL 60",
      "@ IN SOA ns1.convex.test. hostmaster.convex.test. 1 10800 3600 604800 1800",
      "@ IN NS ns1.digitalocean.com.",
      ...["@", "api", "actions", "closed"].map((name) => `${name} IN A ${droplet.publicAddress}`),
    ];
    return { name: "convex.test", serial: 1, file: `${lines.join("\n")}\n` };
  }

  function protect(ports: string[]) {
    const rule = (port: string): FirewallRule => ({ protocol: "tcp", ports: port, addresses: ANYWHERE });
    const outbound: FirewallRule[] = [rule("all"), { ...rule("all"), protocol: "udp" }];
    return lab.room.applyFirewalls([{ id: "firewall", dropletIds: [droplet.id], inbound: ports.map(rule), outbound }]);
  }

  /** Lets certbot on the droplet ask for a certificate; resolves to what it prints, after its error if it fails. */
  async function ask(...names: string[]): Promise<string> {
    await lab.ssh(droplet, `cat > /root/authority.pem <<'END'\n${acme.authority}END`);
    const options = [
      ...["--non-interactive", "--agree-tos", "--register-unsafely-without-email", `--server ${acme.directory}`],
      ...["--webroot --webroot-path /srv/web", "--cert-name test --force-renewal"],
      ...names.map((name) => `-d ${name}`),
    ];
    const trust = "REQUESTS_CA_BUNDLE=/root/authority.pem";
    return lab.ssh(droplet, `${trust} certbot certonly ${options.join(" ")} 2>&1 || true`);
  }

  /** The certificate that certbot has got, checked against the authorities as a client does. */
  async function received(): Promise<X509Certificate> {
    const files = { chain: "chain.pem", certificate: "cert.pem" };
    const local = (name: string) => path.join(lab.home.root, name);
    for (const file of Object.values(files)) {
      await writeFile(local(file), await lab.ssh(droplet, `cat /etc/letsencrypt/live/test/${file}`));
    }
    const trusted = ["-CAfile", acmeAuthority(lab.home), "-no-CApath", "-no-CAstore"];
    const certificate = local(files.certificate);
    await execa("openssl", ["verify", ...trusted, "-untrusted", local(files.chain), certificate]);
    return new X509Certificate(await readFile(certificate));
  }

  test("is one server at a stable address, for droplets and for this computer", async () => {
    expect(acme.directory).toBe(`https://${(await ensureNetwork(lab.home)).gateway}:${lab.home.acmePort}/dir`);
    expect(acme.authority).toBe(await readFile(acmeAuthority(lab.home), "utf8"));
    expect(await lab.room.serveAcme()).toEqual(acme);
    expect((await getOverTls(acme.directory, acme)).body).toContain("newOrder");
    // Without its authority: curl's exit code for a certificate that it cannot verify.
    expect(await lab.ssh(droplet, `curl -s ${acme.directory} || echo $?`)).toBe("60");
  });

  test("issues a certificate of 90 days for three names, validated on port 80 through the firewall", async () => {
    await protect(["22", "80"]);
    expect(await ask(...NAMES)).toContain("Successfully received certificate.");
    const certificate = await received();
    expect(certificate.subjectAltName?.split(", ").sort()).toEqual(NAMES.map((name) => `DNS:${name}`).sort());
    const days = (certificate.validToDate.getTime() - certificate.validFromDate.getTime()) / DAY;
    expect(Math.round(days)).toBe(90);
  });

  test("refuses a name that leads nowhere", async () => {
    expect(await ask("convex.test", "absent.convex.test")).toMatch(
      /Domain: absent\.convex\.test\s+Type: +connection\s+Detail: .*could not resolve URL/,
    );
  });

  test("refuses a name whose port 80 the cloud firewall closes", async () => {
    await protect(["22", "443"]);
    // A name that was validated before would not be validated again.
    expect(await ask("closed.convex.test")).toMatch(
      /Domain: closed\.convex\.test\s+Type: +connection\s+Detail: .*Client\.Timeout/,
    );
  });

  test("lets this computer use the names as the sandbox prints it", async () => {
    expect(await ask(...NAMES)).toContain("Successfully received certificate.");
    const live = "/etc/letsencrypt/live/test";
    const identity = `-cert ${live}/cert.pem -cert_chain ${live}/chain.pem -key ${live}/privkey.pem`;
    await lab.ssh(droplet, "echo it answers > /srv/web/version");
    await lab.ssh(droplet, `systemd-run -q --working-directory=/srv/web openssl s_server -accept 443 ${identity} -WWW`);
    await waitFor("port 443 to be open", 20, async () => (await knock(droplet.publicAddress, 443)) === "open");

    const urls = NAMES.map((name) => `https://${name}`);
    expect((await getByDomain(lab.home, `${urls[1] ?? ""}/version`)).body).toBe("it answers\n");
    const [curl = "", hosts = "", trust = ""] = (await accessOverTls(lab.home, urls)).map(
      ([, command = ""]) => command,
    );
    expect((await execa(curl, { shell: true })).stdout).toBe("it answers");
    const copy = path.join(lab.home.root, "hosts");
    const get = `${process.execPath} -e 'fetch("${urls[2] ?? ""}/version").then((a) => a.text()).then(console.log)'`;
    const commands = [`cp /etc/hosts ${copy}`, `mount --bind ${copy} /etc/hosts`, hosts, trust, get];
    expect((await execa("unshare", ["--mount", "sh", "-ec", commands.join("\n")])).stdout.trim()).toBe("it answers");
  });

  test("comes back in the next machine room with another root, and forgets its accounts", async () => {
    expect(await ask("convex.test")).toContain("Successfully received certificate.");
    const before = acme;
    await lab.reopen(async () => {
      await expect(getOverTls(before.directory, before)).rejects.toThrow("ECONNREFUSED");
    });
    await getOverTls(before.directory, before);
    acme = await lab.room.serveAcme();
    expect(acme.directory).toBe(before.directory);
    expectNewRoot(before, acme);
    // By the former root.
    await received();
    await lab.room.serveZones([zone()]);
    expect(await ask("convex.test")).toMatch(/Account \S+ not found/);
    await lab.ssh(droplet, "rm -r /etc/letsencrypt/accounts");
    expect(await ask("convex.test")).toContain("Successfully received certificate.");
    await received();
  });

  test("replaces one whose machine room was killed", async () => {
    await using next = new AcmeServer(lab.home, await ensureNetwork(lab.home));
    expectNewRoot(acme, await next.serve());
  });
});

/** Expects one more root, after all former ones. */
function expectNewRoot(before: AcmeAccess, after: AcmeAccess): void {
  expect(after.authority.startsWith(before.authority)).toBe(true);
  const root = after.authority.slice(before.authority.length);
  expect(root).toMatch(/^-----BEGIN CERTIFICATE-----/);
  expect(before.authority).not.toContain(root);
}

test("the ACME server does not run unless it is asked for, and is gone with its sandbox", async () => {
  await using home = await temporaryHome();
  const network = await ensureNetwork(home);
  try {
    const room = await openMachineRoom(home);
    expect(await knock(network.gateway, home.acmePort, network.gateway)).toBe("refused");
    await room[Symbol.asyncDispose]();
    // As after a machine room that was killed.
    const access = await new AcmeServer(home, network).serve();
    await getOverTls(access.directory, access);
  } finally {
    await removeEverything(home);
  }
  expect(existsSync(acmeAuthority(home))).toBe(false);
  expect(await knock("127.0.0.1", home.acmePort)).toBe("refused");
});
