import type { State } from "../../state.ts";
import type { Container } from "../containers/docker.ts";
import { json, lines } from "../facts.ts";
import { type Finding, findingsBy, missing as absent, undeclared } from "../finding.ts";
import type { Repair } from "../repair.ts";
import type { Inside } from "../inside.ts";
import { declaredNetworks, ends, type Ends } from "../containers/networks.ts";
import { TYPES } from "../../../contract/names.ts";
import { shell } from "../shell.ts";

interface NftObject {
  table?: { family: string; name: string };
  chain?: { family: string; table: string; name: string; policy?: string };
  rule?: { family: string; table: string; chain: string; handle: number };
}

/** Tables of the scripts, of Docker and of iptables, by family and name. */
const TABLES = /^(inet convex_metadata|(ip|ip6) (filter|nat|mangle|raw|security))$/;

/** Programs that maintain packet rules, with the names of their chains and tables. One command removes all their rules. */
const KEEPERS = [
  { name: "ufw", rules: /^ufw6?-/, off: "ufw disable" },
  { name: "firewalld", rules: /^firewalld$/, off: "systemctl disable --now firewalld" },
  { name: "fail2ban", rules: /^f2b-/, off: "systemctl disable --now fail2ban" },
];

const { error, warning } = findingsBy("nft", "network");

/** A rule that nothing declares. */
interface Stray {
  family: string;
  table: string;
  chain: string;
  handle: number;
  text: string;
}

/**
 * Checks the packet rules: Docker's rules for packets to and from its containers must be there, and no other rules. nft lists
 * all rules; iptables prints their text, in the form in which Docker writes them.
 */
export function comparePackets(state: State, inside: Inside): Finding[] {
  const objects = json<{ nftables: NftObject[] }>(inside, "nft")?.nftables ?? [];
  const written = { ip: parse(lines(inside, "iptables")), ip6: parse(lines(inside, "ip6tables")) };
  const unreadable = { ip: unreadableIn(lines(inside, "iptables")), ip6: unreadableIn(lines(inside, "ip6tables")) };
  const docker = ends(inside);
  const seen = new Map<string, number>();
  const strays = objects.flatMap(({ rule }): Stray[] => {
    if (rule === undefined || rule.table === "convex_metadata" || !(rule.family in written)) return [];
    if (unreadable[rule.family as "ip" | "ip6"].includes(rule.table)) return [];
    const key = `${rule.table} ${rule.chain}`;
    const place = seen.get(`${rule.family} ${key}`) ?? 0;
    seen.set(`${rule.family} ${key}`, place + 1);
    const chains = written[rule.family as "ip" | "ip6"];
    const rules = chains.get(key) ?? [];
    const text = rules[place] ?? "";
    if (
      text !== "" &&
      (isDockers(rule, text, place === rules.length - 1, docker) || leadsNowhere(chains, rule, text))
    ) {
      return [];
    }
    return [{ ...rule, text }];
  });
  const keepers = KEEPERS.filter(
    ({ rules }) =>
      strays.some(({ chain }) => rules.test(chain)) || objects.some(({ table }) => rules.test(table?.name ?? "")),
  );
  const kept = (name: string) => keepers.some(({ rules }) => rules.test(name));
  const others = strays.filter(({ chain, text }) => !kept(chain) && !kept(targetOf(text)));
  const policies = objects.flatMap(({ chain }) => (chain === undefined ? [] : policy(chain)));
  return [
    ...keepers.map(({ name, off }) =>
      error(
        `nft.${name}`,
        undeclared(`${name} is active: it drops packets of the backend, or may drop them; nothing declares it`),
        {
          why: "switch it off, with all of its rules, because the cloud's firewall blocks access. Or ignore it with driftIgnore",
          command: off,
        },
      ),
    ),
    ...objects.flatMap(({ table }) => (table === undefined || kept(table.name) ? [] : foreignTable(table))),
    // A firewall program may have set the policies, and resets them when it is switched off.
    ...(keepers.length > 0 ? [] : policies.map(({ finding }) => finding)),
    ...byChain(others).map((rules) => unexpected(rules, keepers.length > 0 ? [] : policies)),
    ...lines(inside, "iptables.legacy").map((name) =>
      warning(
        `iptables-legacy.${name}`,
        undeclared("is a table of rules that nft does not show, nothing declares it"),
        {
          why: "empty it if nobody needs it, or ignore it with driftIgnore",
          command: shell`iptables-legacy -t ${name} -F`,
        },
      ),
    ),
    ...Object.entries(unreadable).flatMap(([family, tables]) =>
      tables.map((table) =>
        warning(
          `nft.${family}.${table}`,
          undeclared("has rules that only nft can express, so none of its rules could be checked"),
          {
            why: "find the rules that nobody needs and remove them by their handles, or ignore this with driftIgnore",
            command: shell`nft --handle list table ${family} ${table}`,
          },
        ),
      ),
    ),
    ...(unreadable.ip.length > 0 ? [] : missing(state, inside, written.ip, docker)),
  ];
}

/** Tables that iptables cannot print, because somebody has added rules that only nft can express. */
function unreadableIn(saved: string[]): string[] {
  return saved.flatMap((line) => /^# Table `(\S+)' is incompatible/.exec(line)?.[1] ?? []);
}

function byChain(rules: Stray[]): [Stray, ...Stray[]][] {
  const chains = Map.groupBy(rules, ({ family, table, chain }) => `${family} ${table} ${chain}`);
  return [...chains.values()] as [Stray, ...Stray[]][];
}

/**
 * The undeclared rules of a chain, and one command that removes them. Its order locks nobody out half-way: first the policy
 * that drops, then the rules that refuse, then the rules that accept.
 */
function unexpected(rules: [Stray, ...Stray[]], policies: Policy[]): Finding {
  const [{ family, table, chain }] = rules;
  const refuses = ({ text }: Stray) => /-j (DROP|REJECT)/.test(text);
  const inOrder = [...rules.filter(refuses), ...rules.filter((rule) => !refuses(rule))];
  const handles = rules.map(({ handle }) => handle).join(", ");
  const what = rules.length === 1 ? `rule ${handles} is` : `rules ${handles} are`;
  return warning(
    `nft.${family}.${table}.${chain}`,
    undeclared(
      `${what} declared by nothing`,
      rules.map(({ text }) => text),
    ),
    {
      why: "remove it if nobody needs it, or ignore it with driftIgnore",
      command: [
        ...policies.filter((known) => known.family === family && known.table === table).map(({ accept }) => accept),
        ...inOrder.map(({ handle }) => shell`nft delete rule ${family} ${table} ${chain} handle ${handle}`),
      ].join(" && "),
    },
  );
}

/** A rule's target: another chain, or a verdict on the packet. */
function targetOf(rule: string): string {
  return /-[jg] (\S+)/.exec(rule)?.[1] ?? "";
}

/** Whether a rule leads to a chain without rules. Some firewall programs leave such rules behind after they are switched off. */
function leadsNowhere(chains: Chains, { table }: { table: string }, text: string): boolean {
  const target = targetOf(text);
  return /[a-z]/.test(target) && reachable(chains, table, target).length === 0;
}

function foreignTable({ family, name }: { family: string; name: string }): Finding[] {
  if (TABLES.test(`${family} ${name}`)) return [];
  return [
    warning(`nft.${family}.${name}`, undeclared("is a table that nothing declares"), {
      why: "remove it if nobody needs it, or ignore it with driftIgnore",
      command: shell`nft delete table ${family} ${name}`,
    }),
  ];
}

/** A chain whose policy drops packets, and the command that sets it to accept. */
interface Policy {
  family: string;
  table: string;
  accept: string;
  finding: Finding;
}

/** Ignores the chain FORWARD: Docker sets its policy to drop if Docker itself has enabled forwarding. */
function policy({ family, table, name, policy: found = "accept" }: NonNullable<NftObject["chain"]>): Policy[] {
  if (found === "accept" || !TABLES.test(`${family} ${table}`) || (table === "filter" && name === "FORWARD")) return [];
  const accept = `nft chain ${family} ${table} ${name} '{ policy accept; }'`;
  const finding = error(
    [`nft.${family}.${table}.${name}`, "policy"],
    { expected: "accept", found },
    {
      why: "accept packets that no rule refuses; the cloud's firewall blocks access",
      command: accept,
    },
  );
  return [{ family, table, accept, finding }];
}

/** A comment in a rule, which anybody can write. */
const COMMENT = / -m comment --comment ("(\\.|[^"\\])*"|\S+)/;

/** The rules of each chain, by table and name, in their order. */
type Chains = Map<string, string[]>;

function parse(saved: string[]): Chains {
  const chains: Chains = new Map();
  let table = "";
  for (const line of saved) {
    if (line.startsWith("*")) table = line.slice(1);
    const [, chain, rule] = /^-A (\S+) (.*)$/.exec(line.replace(COMMENT, "")) ?? [];
    if (chain === undefined || rule === undefined) continue;
    const key = `${table} ${chain}`;
    chains.set(key, [...(chains.get(key) ?? []), rule]);
  }
  return chains;
}

/** Whether any release of Docker writes this rule: for its own chains, bridges, networks and containers. */
function isDockers(
  { table, chain }: { table: string; chain: string },
  rule: string,
  isLast: boolean,
  { bridges, subnets, addresses }: Ends,
): boolean {
  const target = targetOf(rule);
  const own = chain.startsWith("DOCKER");
  const bridge = [...rule.matchAll(/-[io] (\S+)/g)].some(([, name = ""]) => bridges.includes(name));
  const from = /(?<!! )-s (\S+)/.exec(rule)?.[1] ?? "";
  const at = (/(?<!! )-d (\S+)/.exec(rule)?.[1] ?? "").replace("/32", "");
  const to = /--to-destination (\S+):\d+/.exec(rule)?.[1] ?? "";
  if (target.startsWith("DOCKER")) return true;
  if (chain === "DOCKER-USER") return rule === "-j RETURN";
  switch (target) {
    case "RETURN":
      return own && (rule === "-j RETURN" ? isLast : /^-i \S+ -j RETURN$/.test(rule) && bridge);
    case "ACCEPT":
      return table === "filter" && (own || chain === "FORWARD") && bridge;
    case "DROP":
      return (
        (table === "raw" &&
          chain === "PREROUTING" &&
          rule.includes("! -i ") &&
          (addresses.includes(at) || at.startsWith("127."))) ||
        (own && bridge && !/port/.test(rule))
      );
    case "MASQUERADE":
      return (
        chain === "POSTROUTING" &&
        (subnets.includes(from) || addresses.includes(from.replace("/32", "")) || (bridge && rule.includes("addrtype")))
      );
    case "DNAT":
      return own && (addresses.includes(to) || to === "127.0.0.11");
    case "SNAT":
      return own && rule.includes("-s 127.0.0.11/32");
    default:
      return false;
  }
}

const REWRITE: Repair = {
  why: "let Docker write its rules again, which restarts the containers",
  command: "systemctl restart docker",
};

/** Finds missing rules that packets to or from containers need. */
function missing(state: State, inside: Inside, chains: Chains, docker: Ends): Finding[] {
  const reach = (table: string, chain: string, ...wanted: RegExp[]) =>
    reachable(chains, table, chain).some((rule) => wanted.every((pattern) => pattern.test(rule)));
  const lost: [path: string, what: string][] = [];
  for (const { name, subnet } of declaredNetworks(state)) {
    const network = docker.networks.get(name);
    if (network === undefined) continue;
    const path = `networks.${name}`;
    const [input, output] = [literally(`-i ${network.bridge}`), literally(`-o ${network.bridge}`)];
    if (!reach("nat", "POSTROUTING", literally(`-s ${subnet}`), /MASQUERADE/)) {
      lost.push([`nft.ip.nat.POSTROUTING.${path}`, "no rule gives its containers' packets the droplet's address"]);
    }
    if (!reach("filter", "FORWARD", input, /-j ACCEPT/)) {
      lost.push([`nft.ip.filter.FORWARD.${path}`, "no rule accepts packets from its containers"]);
    }
    if (!reach("filter", "FORWARD", output, /ESTABLISHED/, /-j ACCEPT/)) {
      lost.push([`nft.ip.filter.FORWARD.${path}`, "no rule accepts answers to its containers"]);
    }
  }
  const running = (json<Container[]>(inside, "docker.containers") ?? [])
    .filter(({ State }) => State.Status === "running")
    .map(({ Name }) => Name.slice(1));
  for (const { name, ports } of declaredPorts(state)) {
    const addresses = docker.byName.get(name) ?? [];
    if (addresses.length === 0 || !running.includes(name)) continue;
    // If a container is in several networks, Docker leads its ports to one of its addresses.
    const anyOf = (rule: (address: string) => RegExp[], table: string, chain: string) =>
      addresses.some((address) => reach(table, chain, ...rule(address)));
    for (const { external, internal } of ports) {
      const path = `containers.${name}.${external}`;
      const leads = (to: string) => [literally(`--dport ${external}`), literally(`--to-destination ${to}:${internal}`)];
      for (const chain of ["PREROUTING", "OUTPUT"]) {
        if (!anyOf(leads, "nat", chain)) lost.push([`nft.ip.nat.${chain}.${path}`, "no rule leads the port there"]);
      }
      const accepts = (to: string) => [literally(`-d ${to}/32`), literally(`--dport ${internal}`), /-j ACCEPT/];
      if (!anyOf(accepts, "filter", "FORWARD")) {
        lost.push([`nft.ip.filter.FORWARD.${path}`, "no rule accepts packets to the port"]);
      }
    }
  }
  return lost.map(([path, what]) => error(path, absent(`${what}, one should`), REWRITE));
}

/** All rules that a packet may pass, starting at a chain. */
function reachable(chains: Chains, table: string, chain: string, seen = new Set<string>()): string[] {
  if (seen.has(chain)) return [];
  seen.add(chain);
  return (chains.get(`${table} ${chain}`) ?? []).flatMap((rule) => [
    rule,
    ...reachable(chains, table, targetOf(rule), seen),
  ]);
}

function literally(text: string): RegExp {
  return new RegExp(`(^| )(?<!! )${text.replaceAll(".", "\\.")}( |$)`);
}

function declaredPorts(state: State): { name: string; ports: { external: number; internal: number }[] }[] {
  return state.all(TYPES.container).map(({ inputs }) => ({
    name: String(inputs["name"]),
    ports: (inputs["ports"] ?? []) as { external: number; internal: number }[],
  }));
}
