import type { State } from "../../state.ts";
import { lines } from "../facts.ts";
import { type Finding, findingsBy, missing, undeclared } from "../finding.ts";
import type { Inside } from "../inside.ts";
import { TYPES } from "../../../contract/names.ts";
import { deleteHost } from "../edits.ts";

/** Names for the machine itself and its local network. */
const OWN = /^(localhost|localhost\.localdomain|localhost[46]|ip6-\w+)$/;

/** Checks that names are resolved, and to the same addresses as in DNS. */
export function compareNames(state: State, inside: Inside): Finding[] {
  return [...order(inside), ...servers(inside), ...hosts(state, inside)];
}

/** Checks where names are looked up, and in which order. */
function order(inside: Inside): Finding[] {
  const [services] = lines(inside, "names.order");
  if (services === undefined && inside.facts.get("names.order")?.exitCode !== 0) return [];
  const words = services?.split(/\s+/) ?? [];
  const [files, network] = [words.indexOf("files"), words.findIndex((word) => word === "dns" || word === "resolve")];
  if (files !== -1 && network > files) return [];
  const message = `names are looked up in ${services ?? "nothing"}, it should be files, then dns`;
  return [
    findingsBy("names.order", "network").error(
      "names.order",
      { expected: "files dns", found: services ?? "", message },
      {
        why: "fix the line",
        command: "sed -i '/^hosts:/d' /etc/nsswitch.conf && echo 'hosts: files dns' >> /etc/nsswitch.conf",
      },
    ),
  ];
}

/** The fact has a line for each server: address, whether it answers. */
function servers(inside: Inside): Finding[] {
  const { error } = findingsBy("names.servers", "network");
  const fact = inside.facts.get("names.servers");
  if (fact === undefined) return [];
  const why =
    "write the servers of the droplet's network there, DigitalOcean's are 67.207.67.2 and 67.207.67.3; " +
    "a container uses them after its next start";
  const command = "cat /etc/resolv.conf";
  const found = lines(inside, "names.servers").map((line) => line.split(" "));
  if (found.length === 0) {
    return [
      error("names.servers", missing("/etc/resolv.conf names no server, it should name one that answers"), {
        why,
        command,
      }),
    ];
  }
  return found
    .filter(([, answer]) => answer !== "answers")
    .map(([address = "", answer = ""]) =>
      error(
        `names.servers[${address}]`,
        {
          expected: "answers",
          found: answer.replaceAll("-", " "),
          message: `${answer.replaceAll("-", " ")}, it should: it is in /etc/resolv.conf`,
        },
        { why, command },
      ),
    );
}

/** The fact has a line for each name: its line in the file, address, name, and the addresses that DNS has for it. */
function hosts(state: State, inside: Inside): Finding[] {
  const { error, warning } = findingsBy("names.hosts", "network");
  const found = lines(inside, "names.hosts").map((line) => line.trim().split(" "));
  if (!inside.facts.has("names.hosts")) return [];
  const findings = found.flatMap(([line = "", address = "", name = "", ...known]) => {
    const isLoopback = /^(127\.|::1$|fe00::|ff0)/.test(address);
    if (OWN.test(name) ? isLoopback : known.includes(address) || known.includes("own")) return [];
    // If only this file knows a registry's name, the images were pulled from this address.
    if (known.length === 0 && registries(state).includes(name)) return [];
    return [
      warning(
        `names.hosts[${name}]`,
        undeclared(`leads to ${address} in line ${line} of /etc/hosts, nothing declares it`, address),
        {
          why: "remove it if nobody needs it, or ignore it with driftIgnore",
          command: deleteHost(address, name),
        },
      ),
    ];
  });
  if (!found.some(([, address, name]) => name === "localhost" && address?.startsWith("127.") === true)) {
    findings.push(
      error(
        "names.hosts[localhost]",
        missing("is not there, it should be 127.0.0.1: the health check and PostgreSQL use it"),
        {
          why: "put it back",
          command: "sed -i '1i 127.0.0.1 localhost' /etc/hosts",
        },
      ),
    );
  }
  return findings;
}

function registries(state: State): string[] {
  return state
    .all(TYPES.container)
    .map(({ inputs }) => String(inputs["image"]).split("/")[0]?.replace(/:\d+$/, "") ?? "");
}
