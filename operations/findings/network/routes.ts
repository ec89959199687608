import { isDeepStrictEqual } from "node:util";

import type { State } from "../../state.ts";
import { json, lines } from "../facts.ts";
import { type Finding, findingsBy, missing, undeclared } from "../finding.ts";
import type { Inside } from "../inside.ts";
import { declaredNetworks, ends } from "../containers/networks.ts";
import { shell } from "../shell.ts";

interface Route {
  /** Absent for an ordinary route. */
  type?: string;
  dst: string;
  gateway?: string;
  dev?: string;
  protocol?: string;
  scope?: string;
}

interface Rule {
  priority: number;
  src: string;
  srclen?: number;
  table?: string;
}

/** The rules that every machine has. */
const RULES: Rule[] = [
  { priority: 0, src: "all", table: "local" },
  { priority: 32766, src: "all", table: "main" },
  { priority: 32767, src: "all", table: "default" },
];

/** Checks the routes to the outside and to the containers, the rules that choose among routes, and that forwarding is on. */
export function compareRoutes(state: State, inside: Inside): Finding[] {
  return [...routes(state, inside), ...rules(inside), ...forwarding(state, inside)];
}

function routes(state: State, inside: Inside): Finding[] {
  const { error, warning } = findingsBy("routes", "network");
  const found = json<Route[]>(inside, "routes");
  if (found === undefined) return [];
  const { networks } = ends(inside);
  const findings: Finding[] = [];
  if (!found.some(({ dst, type, gateway }) => dst === "default" && type === undefined && gateway !== undefined)) {
    findings.push(
      error("routes[default]", missing("is not there, it should lead to the cloud's gateway"), {
        why: "restart the machine, which sets up its network again",
        command: "systemctl reboot",
      }),
    );
  }
  for (const { name, subnet, gateway } of declaredNetworks(state)) {
    const bridge = networks.get(name)?.bridge;
    if (bridge === undefined) continue;
    const devices = found.filter(({ dst, type }) => dst === subnet && type === undefined).map(({ dev }) => dev);
    if (devices[0] === bridge) continue;
    findings.push(
      error(
        `routes[${subnet}]`,
        { expected: bridge, found: devices[0] },
        {
          why: "lead it to the containers' network again",
          command:
            `ip link set ${bridge} up && ip address replace ${gateway}/${subnet.replace(/.*\//, "")} dev ${bridge} && ` +
            `ip route replace ${subnet} dev ${bridge} src ${gateway}`,
        },
      ),
    );
  }
  // The kernel makes the routes of its interfaces, and the distribution makes the default route.
  for (const { type, dst, dev, protocol = "boot", scope, gateway } of found) {
    const byHand = type !== undefined || (protocol === "boot" && dst !== "default" && scope !== "host");
    if (!byHand || networks.size === 0 || declaredNetworks(state).some(({ subnet }) => subnet === dst)) continue;
    const route = [
      type,
      dst,
      ...(gateway === undefined ? [] : ["via", gateway]),
      ...(dev === undefined ? [] : ["dev", dev]),
    ];
    const what = type === undefined ? `leads to ${gateway ?? dev ?? "nowhere"}` : `is a ${type}`;
    findings.push(
      warning(`routes[${dst}]`, undeclared(`${what}, nothing declares it`, type ?? gateway ?? dev), {
        why: "remove it if nobody needs it, or ignore it with driftIgnore",
        command: ["ip route del", ...route.flatMap((word) => (word === undefined ? [] : shell`${word}`))].join(" "),
      }),
    );
  }
  return findings;
}

function rules(inside: Inside): Finding[] {
  const { error, warning } = findingsBy("routes.rules", "network");
  const found = json<Rule[]>(inside, "routes.rules");
  if (found === undefined) return [];
  const has = (list: Rule[], wanted: Rule) => list.some((rule) => isDeepStrictEqual(rule, wanted));
  return [
    ...found
      .filter((rule) => !has(RULES, rule))
      .map((rule) =>
        warning(`routes.rules[${rule.priority}]`, undeclared("selects another routing table, nothing declares it"), {
          why: "remove it if nobody needs it, or ignore it with driftIgnore",
          command: `ip rule del ${selectorOf(rule)}`,
        }),
      ),
    ...RULES.filter((rule) => !has(found, rule)).map(({ priority, table = "" }) =>
      error(`routes.rules[${priority}]`, missing(`is not there, it should look up the table ${table}`), {
        why: "put it back",
        command: shell`ip rule add from all lookup ${table} priority ${priority}`,
      }),
    ),
  ];
}

/** The whole selector, because the priority alone could match one of the system's own rules. */
function selectorOf({ priority, src, srclen, table }: Rule): string {
  const from = srclen === undefined ? src : `${src}/${srclen}`;
  return shell`from ${from} priority ${priority}` + (table === undefined ? "" : shell` lookup ${table}`);
}

/** Docker switches forwarding on when it starts. For each packet, the kernel uses the parameter of the incoming interface. */
function forwarding(state: State, inside: Inside): Finding[] {
  const { error } = findingsBy("forwarding", "network");
  if (declaredNetworks(state).length === 0) return [];
  const { bridges } = ends(inside);
  const outer = (json<Route[]>(inside, "routes") ?? []).filter(({ dst }) => dst === "default").map(({ dev }) => dev);
  const ways = ["ip_forward", ...[...bridges, ...outer].map((name) => `conf.${name ?? ""}.forwarding`)];
  const off = lines(inside, "forwarding")
    .map((line) => line.split(" = "))
    .filter(([, value]) => value === "0")
    .map(([key = ""]) => key.replace("net.ipv4.", ""));
  // sysctl writes a dot in the name of an interface as a slash.
  const counting = off.filter((key) => ways.includes(key.replaceAll("/", ".")));
  return (off.includes("ip_forward") ? ["ip_forward"] : counting).map((key) =>
    error(
      ["sysctl", `net.ipv4.${key}`],
      { expected: "1", found: "0", message: "is 0, it should be 1: no packets are forwarded to the containers" },
      { why: "switch it on", command: shell`sysctl -w net.ipv4.${key}=1` },
    ),
  );
}
