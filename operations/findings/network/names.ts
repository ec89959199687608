import type { State } from "../../state.ts";
import { lines } from "../facts.ts";
import { type Finding, findingsBy, missing, undeclared } from "../finding.ts";
import type { Inside } from "../inside.ts";
import { TYPES } from "../../../contract/names.ts";
import { deleteHost } from "../edits.ts";

/** Names that a machine gives itself and its neighbours in its own network. */
const OWN = /^(localhost|localhost\.localdomain|localhost[46]|ip6-\w+)$/;

/** Whether names are found, and lead where the rest of the world finds them. */
export function compareNames(state: State, inside: Inside): Finding[] {
  return [...order(inside), ...servers(inside), ...hosts(state, inside)];
}

/** Where names are looked up, in which order. */
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

/** A line each: address, whether it answers. */
function servers(inside: Inside): Finding[] {
  const { error } = findingsBy("names.servers", "network");
  const fact = inside.facts.get("names.servers");
  if (fact === undefined) return [];
  const why =
    "write the servers of the droplet's network there, DigitalOcean's are 67.207.67.2 and 67.207.67.3; " +
    "a container takes them over when it is started again";
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
          message: `${answer.replaceAll("-", " ")}, it should: /etc/resolv.conf names it`,
        },
        { why, command },
      ),
    );
}

/** A line each: line of the file, address, name, and the addresses that the network has for it. */
function hosts(state: State, inside: Inside): Finding[] {
  const { error, warning } = findingsBy("names.hosts", "network");
  const found = lines(inside, "names.hosts").map((line) => line.trim().split(" "));
  if (!inside.facts.has("names.hosts")) return [];
  const findings = found.flatMap(([line = "", address = "", name = "", ...known]) => {
    const isLoopback = /^(127\.|::1$|fe00::|ff0)/.test(address);
    if (OWN.test(name) ? isLoopback : known.includes(address) || known.includes("own")) return [];
    // A registry that only this file knows is where the images came from.
    if (known.length === 0 && registries(state).includes(name)) return [];
    return [
      warning(
        `names.hosts[${name}]`,
        undeclared(`leads to ${address} by line ${line} of /etc/hosts, nothing declares it`, address),
        {
          why: "remove it if nobody needs it, or ignore it with --ignore",
          command: deleteHost(address, name),
        },
      ),
    ];
  });
  if (!found.some(([, address, name]) => name === "localhost" && address?.startsWith("127.") === true)) {
    findings.push(
      error(
        "names.hosts[localhost]",
        missing("is not there, it should be 127.0.0.1: health check and PostgreSQL use it"),
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
