import { createSocket } from "node:dgram";
import { Resolver } from "node:dns/promises";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { DnsRecord, DnsRecordType } from "../../sandbox/cloud/records.ts";
import { initialRecords, zoneFile } from "../../sandbox/cloud/zone.ts";
import type { DatabaseEntrance, DropletSpec, FirewallRule } from "../../sandbox/droplet/hypervisor.ts";
import { DATABASE_PORT } from "../../sandbox/droplet/hypervisor.ts";
import { NameServer } from "../../sandbox/droplet/name-server.ts";
import { addAddress, databaseAddress, ensureNetwork, privateAddress } from "../../sandbox/droplet/network.ts";
import { waitFor } from "../../sandbox/wait-for.ts";
import { knock, type Lab, openLab } from "./droplet-harness.ts";

const ANYWHERE = ["0.0.0.0/0", "::/0"];
const SSH: FirewallRule = { protocol: "tcp", ports: "22", addresses: ANYWHERE };
const ALL_OUT: FirewallRule[] = [
  { protocol: "tcp", ports: "all", addresses: ANYWHERE },
  { protocol: "udp", ports: "all", addresses: ANYWHERE },
  { protocol: "icmp", ports: "all", addresses: ANYWHERE },
];

let lab: Lab;
let one: DropletSpec;
let two: DropletSpec;

beforeAll(async () => {
  lab = await openLab();
  one = lab.spec(1);
  two = lab.spec(2);
  await lab.room.createDroplet(one);
  await lab.room.createDroplet(two);
  await lab.booted(one);
  await lab.booted(two);
  // Services that answer on a few ports.
  await lab.ssh(one, "for port in 8000 8001 9000; do systemd-run -q python3 -m http.server $port; done");
  await lab.ssh(
    one,
    `systemd-run -q python3 -c '${[
      "import socket",
      "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
      's.bind(("", 5000))',
      "while True: s.sendto(*s.recvfrom(100))",
    ].join("\n")}'`,
  );
  for (const port of [8000, 8001, 9000]) await opens(one, port);
});
afterAll(() => lab[Symbol.asyncDispose]());
afterEach(() => lab.room.applyFirewalls([]));

async function opens({ publicAddress }: DropletSpec, port: number, from?: string) {
  await waitFor(`port ${port} to be open`, 20, async () => (await knock(publicAddress, port, from)) === "open");
}

function protect(droplet: DropletSpec, inbound: FirewallRule[], outbound = ALL_OUT) {
  return lab.room.applyFirewalls([{ id: "firewall", dropletIds: [droplet.id], inbound, outbound }]);
}

describe("a droplet without a firewall", () => {
  test("answers on every port, from its own address", async () => {
    await opens(one, 22);
    expect(await knock(one.publicAddress, 4444)).toBe("refused");
    expect(await lab.ssh(one, "hostname")).toBe("machine-1");
    expect(await lab.ssh(two, "hostname")).toBe("machine-2");
  });

  test("cannot be reached at its address in the sandbox's network, neither from here nor from another droplet", async () => {
    const address = privateAddress(await ensureNetwork(lab.home), one.publicAddress);
    expect(await knock(address, 22, "0.0.0.0")).toBe("silent");
    expect(await knockFrom(two, address, 22)).toBe("closed");
  });

  test("reaches nothing on this computer except the registry", async () => {
    const { gateway } = await ensureNetwork(lab.home);
    const registry = createServer().listen(lab.home.registryPort, gateway);
    const other = createServer().listen(0, gateway);
    try {
      await Promise.all([once(registry, "listening"), once(other, "listening")]);
      expect(await knockFrom(one, gateway, lab.home.registryPort)).toBe("open");
      expect(await knockFrom(one, gateway, portOf(other))).toBe("closed");
    } finally {
      registry.close();
      other.close();
    }
  });
});

describe("a firewall", () => {
  test("allows the ports that it names, and is silent on all others", async () => {
    await protect(one, [SSH, { protocol: "tcp", ports: "8000-8001", addresses: ANYWHERE }]);
    await opens(one, 22);
    await opens(one, 8000);
    await opens(one, 8001);
    expect(await knock(one.publicAddress, 9000)).toBe("silent");
    await opens(two, 22);
  });

  test("allows the sources that it names, and is silent to all others", async () => {
    await protect(one, [{ protocol: "tcp", ports: "8000", addresses: ["127.0.0.9/32", "203.0.113.0/24"] }]);
    await opens(one, 8000, "127.0.0.9");
    expect(await knock(one.publicAddress, 8000, "127.0.0.1")).toBe("silent");
  });

  test("adds to others, and has no effect after its removal", async () => {
    const rule = (ports: string): FirewallRule => ({ protocol: "tcp", ports, addresses: ANYWHERE });
    const firewall = (id: string, ports: string) => ({ id, dropletIds: [1], inbound: [rule(ports)], outbound: [] });
    await lab.room.applyFirewalls([firewall("a", "8000"), firewall("b", "9000")]);
    await opens(one, 8000);
    await opens(one, 9000);
    expect(await knock(one.publicAddress, 8001)).toBe("silent");
    await lab.room.applyFirewalls([firewall("b", "9000")]);
    expect(await knock(one.publicAddress, 8000)).toBe("silent");
    await lab.room.applyFirewalls([]);
    await opens(one, 8000);
  });

  test("keeps open connections that it would no longer allow", async () => {
    const socket = connect(8000, one.publicAddress);
    try {
      await once(socket, "connect");
      await protect(one, [SSH]);
      expect(await knock(one.publicAddress, 8000)).toBe("silent");
      socket.write("HEAD / HTTP/1.0\r\n\r\n");
      const [answer] = (await once(socket, "data", { signal: AbortSignal.timeout(10_000) })) as [Buffer];
      expect(answer.toString()).toMatch(/^HTTP\/1.0 200/);
    } finally {
      socket.destroy();
    }
  });

  test("applies to UDP", async () => {
    expect(await echo(one.publicAddress, 5000)).toBe("ping");
    await protect(one, [SSH]);
    expect(await echo(one.publicAddress, 5000)).toBeUndefined();
    await protect(one, [{ protocol: "udp", ports: "5000", addresses: ANYWHERE }]);
    expect(await echo(one.publicAddress, 5000)).toBe("ping");
  });

  test("allows a droplet to reach only what it names, and always its metadata", { timeout: 60_000 }, async () => {
    const mirror = "mirror=$(apt-get indextargets --no-release-info --format '$(REPO_URI)' | head -1)";
    const reachMirror = () => lab.ssh(one, `${mirror}; curl -so /dev/null -m 8 "$mirror" && echo open || echo closed`);
    expect(await reachMirror()).toBe("open");
    await protect(one, [SSH], [{ protocol: "tcp", ports: "9", addresses: ANYWHERE }]);
    expect(await reachMirror()).toBe("closed");
    expect(await lab.ssh(one, "curl -s http://169.254.169.254/metadata/v1/id")).toBe("1");
    await protect(one, [SSH], ALL_OUT);
    expect(await reachMirror()).toBe("open");
  });
});

describe("a reserved address", () => {
  const reserved = () => `${lab.home.addressPrefix}.251`;
  /** As its metadata shows it to a droplet. */
  const known = (droplet: DropletSpec) =>
    lab.ssh(droplet, "curl -s 169.254.169.254/metadata/v1/reserved_ip/ipv4/{active,ip_address}");
  /** The droplet that answers there. */
  const answering = () => lab.ssh({ ...one, publicAddress: reserved() }, "hostname");

  afterEach(() => lab.room.releaseAddress(reserved()));

  test("leads to its droplet only, which knows it, and moves to another one", async () => {
    expect(await knock(reserved(), 22)).toBe("silent");
    expect(await known(one)).toBe("falsenot found");
    await lab.room.assignAddress(reserved(), one.id);
    expect(await answering()).toBe("machine-1");
    expect(await known(one)).toBe(`true${reserved()}`);
    expect(await lab.ssh(one, "hostname")).toBe("machine-1");

    await lab.room.assignAddress(reserved(), two.id);
    expect(await answering()).toBe("machine-2");
    expect(await known(one)).toBe("falsenot found");
    expect(await known(two)).toBe(`true${reserved()}`);
    await lab.room.releaseAddress(reserved());
    expect(await knock(reserved(), 22)).toBe("silent");
    await opens(two, 22);
  });

  test("lets through what the droplet's firewall allows, by its true source", async () => {
    await lab.room.assignAddress(reserved(), one.id);
    await protect(one, [SSH, { protocol: "tcp", ports: "8000", addresses: ["127.0.0.9/32"] }]);
    expect(await knock(reserved(), 22)).toBe("open");
    expect(await knock(reserved(), 8000, "127.0.0.9")).toBe("open");
    expect(await knock(reserved(), 8000)).toBe("silent");
    expect(await knock(reserved(), 9000)).toBe("silent");
  });

  test("leads to its droplet after a power cycle and in the next machine room, and to the droplet's replacement", async () => {
    const three = lab.spec(3);
    await lab.room.createDroplet(three);
    await lab.booted(three);
    await lab.room.assignAddress(reserved(), three.id);
    await lab.room.stopDroplet(three.id, "power-cut");
    await lab.room.startDroplet(three.id);
    await lab.booted(three);
    expect(await answering()).toBe("machine-3");
    await lab.reopen(() => Promise.resolve());
    expect(await answering()).toBe("machine-3");

    const four = lab.spec(4);
    await lab.room.createDroplet(four);
    await lab.booted(four);
    await lab.room.destroyDroplet(three.id);
    expect(await knock(reserved(), 22)).toBe("silent");
    await lab.room.assignAddress(reserved(), four.id);
    expect(await answering()).toBe("machine-4");
    await lab.room.destroyDroplet(four.id);
  });
});

describe("the name server", () => {
  const resolver = new Resolver({ timeout: 2000, tries: 1 });
  const zone = (name: string, serial: number, ...lines: string[]) => ({
    name,
    serial,
    file: [
      `$ORIGIN ${name}.\n$TTL 60`,
      `@ IN SOA ns1.${name}. hostmaster.${name}. ${serial} 10800 3600 604800 1800`,
      `@ IN NS ns1.digitalocean.com.`,
      ...lines,
      "",
    ].join("\n"),
  });
  beforeAll(() => {
    resolver.setServers([`127.0.0.1:${lab.home.dnsPort}`]);
  });
  afterEach(() => lab.room.serveZones([]));

  test("answers this computer and droplets from the zones, and forwards the rest", { timeout: 120_000 }, async () => {
    expect(await asks(one, "www.example.test")).toBe("");
    await lab.room.serveZones([
      zone(
        "example.test",
        1,
        "www 60 IN A 127.99.7.251",
        "* 60 IN A 192.0.2.9",
        "alias IN CNAME www",
        "away IN CNAME www.example.org.",
        '@ IN CAA 0 issue "letsencrypt.org"',
        '@ IN TXT "one" "two"',
      ),
      zone("example.org", 1, "www IN A 192.0.2.1"),
    ]);
    expect(await resolver.resolve4("www.example.test", { ttl: true })).toEqual([{ address: "127.99.7.251", ttl: 60 }]);
    expect(await resolver.resolve4("any.example.test")).toEqual(["192.0.2.9"]);
    expect(await resolver.resolve4("alias.example.test")).toEqual(["127.99.7.251"]);
    expect(await resolver.resolve4("away.example.test")).toEqual(["192.0.2.1"]);
    expect(await resolver.resolveCaa("example.test")).toMatchObject([{ critical: 0, issue: "letsencrypt.org" }]);
    expect(await resolver.resolveTxt("example.test")).toEqual([["one", "two"]]);
    expect(await asks(one, "alias.example.test")).toBe("127.99.7.251");
    // The mirror's name is not one of the zones.
    const mirror =
      "$(apt-get indextargets --no-release-info --format '$(REPO_URI)' | head -1 | cut -d/ -f3 | cut -d: -f1)";
    expect(await asks(one, mirror)).not.toBe("");
  });

  test("answers from the changed zone immediately, and no longer for one that is gone", async () => {
    await lab.room.serveZones([
      zone("example.test", 1, "www IN A 192.0.2.1"),
      zone("example.org", 1, "@ IN A 192.0.2.2"),
    ]);
    expect(await asks(one, "www.example.test")).toBe("192.0.2.1");
    await lab.room.serveZones([zone("example.test", 2, "www IN A 192.0.2.3")]);
    expect(await asks(one, "www.example.test")).toBe("192.0.2.3");
    expect(await resolver.resolve4("example.org").catch(() => [])).not.toContain("192.0.2.2");
    await lab.room.serveZones([]);
    await expect(resolver.resolve4("www.example.test")).rejects.toThrow();
    expect(await asks(one, "www.example.test")).toBe("");
  });

  test("reads the cloud's zones, with records of all types", async () => {
    const none = { ttl: 60, priority: null, port: null, weight: null, flags: null, tag: null };
    const record = (type: DnsRecordType, data: string, more: Partial<DnsRecord> = {}): DnsRecord => ({
      ...{ id: 1, type, name: "@", data, ...none, ...more },
    });
    const name = "example.test";
    const long = 'v=DKIM1; p="'.padEnd(700, "é");
    const records = [
      ...initialRecords(() => 1),
      record("A", "192.0.2.1"),
      record("AAAA", "2001:db8::1"),
      record("CAA", "mailto:ca@example.test", { flags: 128, tag: "iodef" }),
      record("CNAME", "@", { name: "alias" }),
      record("MX", "mail.example.org", { priority: 10 }),
      record("SRV", "@", { name: "_sip._tcp", priority: 1, weight: 2, port: 5060 }),
      record("TXT", long),
    ];
    await lab.room.serveZones([{ name, serial: 7, file: zoneFile({ name, serial: 7, records }) }]);
    const [caa, mx, srv, txt] = await Promise.all([
      resolver.resolveCaa(name),
      resolver.resolveMx(name),
      resolver.resolveSrv(`_sip._tcp.${name}`),
      resolver.resolveTxt(name),
    ]);
    expect(await resolver.resolve4(`alias.${name}`)).toEqual(["192.0.2.1"]);
    expect(await resolver.resolve6(name)).toEqual(["2001:db8::1"]);
    expect(await resolver.resolveNs(name)).toHaveLength(3);
    expect(caa).toMatchObject([{ critical: 128, iodef: "mailto:ca@example.test" }]);
    expect(mx).toMatchObject([{ exchange: "mail.example.org", priority: 10 }]);
    expect(srv).toMatchObject([{ name, port: 5060, priority: 1, weight: 2 }]);
    expect(Buffer.from(txt.flat().join(""), "latin1").toString()).toBe(long);
  });

  test("ends with its machine room, and replaces one whose machine room was killed", async () => {
    await lab.room.serveZones([zone("example.test", 1, "www IN A 192.0.2.1")]);
    await lab.reopen(async () => {
      await expect(resolver.resolve4("www.example.test")).rejects.toThrow();
    });
    await lab.room.serveZones([zone("example.test", 1, "www IN A 192.0.2.4")]);
    expect(await asks(one, "www.example.test")).toBe("192.0.2.4");
    await using next = new NameServer(lab.home, await ensureNetwork(lab.home));
    await next.serve({ zones: [zone("example.test", 1, "www IN A 192.0.2.5")], spaces: false, names: [] });
    expect(await resolver.resolve4("www.example.test")).toEqual(["192.0.2.5"]);
  });
});

describe("a database server", { timeout: 120_000 }, () => {
  const node = 200;
  const [name, inside] = ["main.db.test", "private-main.db.test"];
  const server = createServer();
  const resolver = new Resolver({ timeout: 1000, tries: 1 });
  const publicly = () => `${lab.home.addressPrefix}.${node}`;

  beforeAll(async () => {
    resolver.setServers([`127.0.0.1:${lab.home.dnsPort}`]);
    const network = await ensureNetwork(lab.home);
    await addAddress(network, databaseAddress(network, node));
    server.listen(DATABASE_PORT, databaseAddress(network, node));
    await once(server, "listening");
  });
  afterEach(() => lab.room.serveDatabases([]));
  afterAll(() => server.close());

  const serve = (trusted?: DatabaseEntrance["trusted"]) =>
    lab.room.serveDatabases([
      { node, publicAddress: publicly(), publicNames: [name], privateNames: [inside], ...(trusted && { trusted }) },
    ]);

  test("has names, which lead droplets to its address in their network, and this computer to its public one", async () => {
    await serve();
    expect(await resolver.resolve4(name)).toEqual([publicly()]);
    const address = databaseAddress(await ensureNetwork(lab.home), node);
    for (const host of [name, inside]) {
      expect(await asks(one, host)).toBe(address);
      expect(await knockFrom(one, host, DATABASE_PORT)).toBe("open");
    }
    expect(await knockFrom(two, inside, DATABASE_PORT)).toBe("open");
    expect(await knock(publicly(), DATABASE_PORT)).toBe("open");
    expect(await knock(address, DATABASE_PORT, "0.0.0.0")).toBe("silent");
    expect(await knock(publicly(), 5432)).toBe("silent");
  });

  test("is open to its trusted sources only", async () => {
    await serve({ networks: ["127.0.0.9/32"], dropletIds: [one.id] });
    expect(await knockFrom(one, inside, DATABASE_PORT)).toBe("open");
    expect(await knockFrom(two, inside, DATABASE_PORT)).toBe("closed");
    expect(await knockFrom(two, name, DATABASE_PORT)).toBe("closed");
    expect(await knock(publicly(), DATABASE_PORT)).toBe("silent");
    expect(await knock(publicly(), DATABASE_PORT, "127.0.0.9")).toBe("open");
  });

  test("cannot be reached if the droplet's outbound rules forbid it", async () => {
    await serve();
    await protect(one, [SSH], [{ protocol: "udp", ports: "53", addresses: ANYWHERE }]);
    expect(await knockFrom(one, inside, DATABASE_PORT)).toBe("closed");
    await protect(one, [SSH], ALL_OUT);
    expect(await knockFrom(one, inside, DATABASE_PORT)).toBe("open");
  });
});

test("an address without a droplet is silent, whatever listens on this computer", async () => {
  const server = createServer().listen(0, "0.0.0.0");
  await once(server, "listening");
  expect(await knock("127.0.0.1", portOf(server))).toBe("open");
  expect(await knock(`${lab.home.addressPrefix}.99`, portOf(server))).toBe("silent");
  server.close();
});

/** The address that a droplet finds for a name. */
function asks(droplet: DropletSpec, name: string): Promise<string> {
  return lab.ssh(droplet, `getent ahostsv4 ${name} | awk '$2 == "STREAM" { print $1 }'`);
}

function knockFrom(droplet: DropletSpec, host: string, port: number): Promise<string> {
  return lab.ssh(
    droplet,
    `timeout 3 bash -c 'exec 3<>/dev/tcp/${host}/${port}' 2>/dev/null && echo open || echo closed`,
  );
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

/** The answer of a UDP port within a second, if there is one. */
async function echo(host: string, port: number): Promise<string | undefined> {
  const socket = createSocket("udp4");
  try {
    // The kernel reports a dropped packet to a sender on the same computer, but not over a real network.
    socket.send("ping", port, host, () => undefined);
    const [message] = (await once(socket, "message", { signal: AbortSignal.timeout(1000) })) as [Buffer];
    return message.toString();
  } catch (error) {
    if (error instanceof Error && error.name === "AbortError") return undefined;
    throw error;
  } finally {
    socket.close();
  }
}
