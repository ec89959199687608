import { describe, expect, it } from "vitest";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import { compareNames } from "../../operations/findings/network/names.ts";
import { compareRoutes } from "../../operations/findings/network/routes.ts";
import { failed, insideOf, stateOf, type Told, told } from "./findings.ts";

const state = stateOf(
  {
    type: TYPES.network,
    name: RESOURCES.network,
    inputs: { name: "convex", ipamConfigs: [{ subnet: "172.30.0.0/24", gateway: "172.30.0.1" }] },
  },
  { type: TYPES.container, name: RESOURCES.backend, inputs: { image: "registry.example:5000/convex@sha256:1" } },
);

describe("names", () => {
  /** Findings about a machine that finds all names, except for these facts. */
  const found = (facts: Record<string, string | object>) =>
    told(
      compareNames(
        state,
        insideOf({
          "names.order": "files mymachines dns\n",
          "names.servers": "67.207.67.2 answers\n67.207.67.3 answers\n",
          "names.hosts":
            "1 127.0.0.1 localhost \n1 127.0.0.1 localhost4 \n2 ::1 localhost6 \n2 ::1 ip6-localhost \n3 127.0.1.1 droplet own\n",
          ...facts,
        }),
      ),
    );

  it.each<[what: string, facts: Record<string, string | object>]>([
    ["are found in the usual places", {}],
    ["are found by systemd", { "names.order": "files resolve [!UNAVAIL=return] dns" }],
    [
      "lead where the network finds them",
      { "names.hosts": "1 127.0.0.1 localhost\n2 192.0.2.1 a 192.0.2.2 192.0.2.1" },
    ],
    [
      "lead to a registry that only this file knows",
      { "names.hosts": "1 127.0.0.1 localhost\n2 192.0.2.1 registry.example " },
    ],
    ["cannot be read", { "names.order": failed() }],
  ])("that %s are not found", (_, facts) => {
    expect(found(facts)).toEqual([]);
    expect(compareNames(state, insideOf({}))).toEqual([]);
  });

  it.each([
    ["dns files", "dns files"],
    ["files", "files"],
    ["dns", "dns"],
    ["", "nothing"],
  ])("are looked up in the wrong order: %j", (order, said) => {
    expect(found({ "names.order": order })).toEqual([
      [
        `error network names.order names.order: names are looked up in ${said}, it should be files, then dns`,
        "sed -i '/^hosts:/d' /etc/nsswitch.conf && echo 'hosts: files dns' >> /etc/nsswitch.conf",
      ],
    ]);
  });

  const server = (path: string, message: string): Told => [
    `error network names.servers names.servers${path}: ${message}`,
    "cat /etc/resolv.conf",
  ];
  it.each<[servers: string, told: Told]>([
    ["", server("", "/etc/resolv.conf names no server, it should name one that answers")],
    [
      "192.0.2.1 does-not-answer\n67.207.67.2 answers",
      server("[192.0.2.1]", "does not answer, it should: it is in /etc/resolv.conf"),
    ],
    ["192.0.2.1 refuses-to-answer", server("[192.0.2.1]", "refuses to answer, it should: it is in /etc/resolv.conf")],
  ])("are asked of servers that do not answer: %j", (servers, expected) => {
    expect(found({ "names.servers": servers })).toEqual([expected]);
  });

  const sed = (address: string, name: string) =>
    `sed -i '\\|^[[:space:]]*${address}[[:space:]]\\(.*[[:space:]]\\)*${name}\\([[:space:]].*\\)*$|d' /etc/hosts`;
  it.each<[address: string, name: string, known: string, pattern: [address: string, name: string]]>([
    ["192.0.2.7", "ghcr.io", "192.0.2.8", ["192\\.0\\.2\\.7", "ghcr\\.io"]],
    ["192.0.2.7", "unknown", "", ["192\\.0\\.2\\.7", "unknown"]],
    ["192.0.2.7", "registry.example", "192.0.2.8", ["192\\.0\\.2\\.7", "registry\\.example"]],
    ["192.0.2.7", "localhost", "", ["192\\.0\\.2\\.7", "localhost"]],
    ["2001:db8::1", "it's|a*", "", ["2001:db8::1", "it.s\\|a\\*"]],
  ])("lead elsewhere: %s %s", (address, name, known, pattern) => {
    expect(found({ "names.hosts": `1 127.0.0.1 localhost\n4 ${address} ${name} ${known}\n` })).toEqual([
      [
        `warning network names.hosts names.hosts[${name}]: leads to ${address} in line 4 of /etc/hosts, nothing declares it`,
        sed(...pattern),
      ],
    ]);
  });

  it.each(["", "1 ::1 localhost\n"])("lack localhost: %j", (hosts) => {
    expect(found({ "names.hosts": hosts })).toEqual([
      [
        "error network names.hosts names.hosts[localhost]: is not there, it should be 127.0.0.1: the health check and PostgreSQL use it",
        "sed -i '1i 127.0.0.1 localhost' /etc/hosts",
      ],
    ]);
  });
});

describe("routes", () => {
  const BRIDGE = "br-0123456789ab";
  const OUT = { dst: "default", gateway: "203.0.113.1", dev: "eth0" };
  const HOME = { dst: "172.30.0.0/24", dev: BRIDGE, protocol: "kernel" };
  const NETWORK = { Id: "0123456789abcdef", Name: "convex", Options: null, IPAM: { Config: null }, Containers: null };
  const RULES = [
    { priority: 0, src: "all", table: "local" },
    { priority: 32_766, src: "all", table: "main" },
    { priority: 32_767, src: "all", table: "default" },
  ];

  /** Findings about a machine whose routes are as declared, except for these facts. */
  const found = (facts: Record<string, string | object>) =>
    told(
      compareRoutes(
        state,
        insideOf({
          routes: [
            OUT,
            HOME,
            { dst: "10.0.0.0/16", dev: "eth1", protocol: "kernel" },
            { dst: "127.0.0.0/8", scope: "host" },
          ],
          "routes.rules": RULES,
          forwarding: `net.ipv4.ip_forward = 1\nnet.ipv4.conf.eth0.forwarding = 1\nnet.ipv4.conf.lo.forwarding = 0\n`,
          "docker.networks": [NETWORK],
          ...facts,
        }),
      ),
    );

  it.each<[what: string, facts: Record<string, string | object>]>([
    ["are as declared", {}],
    ["cannot be read", { routes: failed(), "routes.rules": failed(), forwarding: failed() }],
    [
      "exist beside a network that is missing, which is its own finding",
      { "docker.networks": [], routes: [OUT, { dst: "192.0.2.0/24", dev: "eth1" }] },
    ],
  ])("that %s are not found", (_, facts) => {
    expect(found(facts)).toEqual([]);
  });

  const NO_WAY_OUT: Told = [
    "error network routes routes[default]: is not there, it should lead to the cloud's gateway",
    "systemctl reboot",
  ];
  const back = (bridge: string) =>
    `ip link set ${bridge} up && ip address replace 172.30.0.1/24 dev ${bridge} && ` +
    `ip route replace 172.30.0.0/24 dev ${bridge} src 172.30.0.1`;

  it.each<[what: string, routes: object[], told: Told[]]>([
    ["no way out", [HOME], [NO_WAY_OUT]],
    [
      "a way out that refuses",
      [HOME, { type: "unreachable", dst: "default", gateway: "203.0.113.1" }],
      [
        NO_WAY_OUT,
        [
          "warning network routes routes[default]: is a unreachable, nothing declares it",
          "ip route del unreachable default via 203.0.113.1",
        ],
      ],
    ],
    [
      "no way to the containers",
      [OUT],
      [[`error network routes routes[172.30.0.0/24]: is nothing, it should be ${BRIDGE}`, back(BRIDGE)]],
    ],
    [
      "another way to the containers first",
      [OUT, { dst: "172.30.0.0/24", dev: "eth1" }, HOME],
      [[`error network routes routes[172.30.0.0/24]: is eth1, it should be ${BRIDGE}`, back(BRIDGE)]],
    ],
    [
      "a way by hand",
      [OUT, HOME, { dst: "192.0.2.0/24", gateway: "10.0.0.1", dev: "eth1" }],
      [
        [
          "warning network routes routes[192.0.2.0/24]: leads to 10.0.0.1, nothing declares it",
          "ip route del 192.0.2.0/24 via 10.0.0.1 dev eth1",
        ],
      ],
    ],
    [
      "a way by hand to a device",
      [OUT, HOME, { dst: "192.0.2.0/24", dev: "eth1" }],
      [
        [
          "warning network routes routes[192.0.2.0/24]: leads to eth1, nothing declares it",
          "ip route del 192.0.2.0/24 dev eth1",
        ],
      ],
    ],
    [
      "a way that refuses",
      [OUT, HOME, { type: "blackhole", dst: "192.0.2.7", protocol: "static" }],
      [
        [
          "warning network routes routes[192.0.2.7]: is a blackhole, nothing declares it",
          "ip route del blackhole 192.0.2.7",
        ],
      ],
    ],
  ])("are found with %s", (_, routes, expected) => {
    expect(found({ routes })).toEqual(expected);
  });

  it("lead to a bridge by its own name, if it has one", () => {
    const named = { ...NETWORK, Options: { "com.docker.network.bridge.name": "convex0" } };
    expect(found({ "docker.networks": [named] })).toEqual([
      [`error network routes routes[172.30.0.0/24]: is ${BRIDGE}, it should be convex0`, back("convex0")],
    ]);
  });

  it.each<[what: string, rules: object[], told: Told]>([
    [
      "one is added, and deleted by all its parts, because one of the system's may have its priority",
      [...RULES, { priority: 32_766, src: "10.0.0.0", srclen: 8, table: "100" }],
      [
        "warning network routes.rules routes.rules[32766]: selects another routing table, nothing declares it",
        "ip rule del from 10.0.0.0/8 priority 32766 lookup 100",
      ],
    ],
    [
      "one is added that names no table",
      [...RULES, { priority: 5, src: "192.0.2.7" }],
      [
        "warning network routes.rules routes.rules[5]: selects another routing table, nothing declares it",
        "ip rule del from 192.0.2.7 priority 5",
      ],
    ],
    [
      "one is gone",
      RULES.slice(0, 2),
      [
        "error network routes.rules routes.rules[32767]: is not there, it should look up the table default",
        "ip rule add from all lookup default priority 32767",
      ],
    ],
  ])("are chosen by other rules: %s", (_, rules, expected) => {
    expect(found({ "routes.rules": rules })).toEqual([expected]);
  });

  it.each<[off: string[], told: string[]]>([
    [["ip_forward", "conf.eth0.forwarding"], ["ip_forward"]],
    [["conf.eth0.forwarding", "conf.lo.forwarding"], ["conf.eth0.forwarding"]],
    [[`conf.${BRIDGE}.forwarding`], [`conf.${BRIDGE}.forwarding`]],
  ])("pass nothing on if %j are off", (off, keys) => {
    expect(found({ forwarding: off.map((key) => `net.ipv4.${key} = 0`).join("\n") })).toEqual(
      keys.map((key) => [
        `error network forwarding sysctl.net.ipv4.${key}: is 0, it should be 1: no packets are forwarded to the containers`,
        `sysctl -w net.ipv4.${key}=1`,
      ]),
    );
  });

  it("need no forwarding if no network is declared", () => {
    expect(compareRoutes(stateOf(), insideOf({ forwarding: "net.ipv4.ip_forward = 0" }))).toEqual([]);
  });
});
