import { TYPES } from "../../../contract/names.ts";
import type { State } from "../../state.ts";
import { declaredEdge } from "../expected.ts";
import { lines } from "../facts.ts";
import { type Finding, findingsBy, undeclared } from "../finding.ts";
import type { Inside } from "../inside.ts";

/**
 * Finds undeclared ports that are open to other machines. SSH's port is the distribution's; PostgreSQL's, the containers'
 * and nginx's are declared.
 */
export function compareListeners(state: State, inside: Inside): Finding[] {
  const { warning } = findingsBy("listeners", "host");
  const gateways = state
    .all(TYPES.network)
    .flatMap(({ inputs }) => (inputs["ipamConfigs"] as { gateway: string }[]).map(({ gateway }) => `${gateway}:5432`));
  const published = state
    .all(TYPES.container)
    .flatMap(({ inputs }) =>
      ((inputs["ports"] ?? []) as { external: number; ip: string }[]).map(({ external, ip }) => `${ip}:${external}`),
    );
  const nginx = declaredEdge(state) === undefined ? [] : ["0.0.0.0:80", "0.0.0.0:443"];
  const declared = ["0.0.0.0:22", "[::]:22", "*:22", ...gateways, ...published, ...nginx];
  return lines(inside, "listeners").flatMap((line) => {
    const [, , , address = ""] = line.trim().split(/\s+/);
    if (/^(127\.|\[::1\]|\[::ffff:127\.)/.test(address) || declared.includes(address.replace(/%[^:]*/, ""))) return [];
    const who = /users:\(\("([^"]+)"/.exec(line)?.[1] ?? "some process";
    return [
      warning(`listeners.${address}`, undeclared(`${who} listens there, nothing declares it`, who), {
        why: "stop it if nobody needs it, or ignore it with driftIgnore",
        command: `ss -ltnp 'sport = :${address.split(":").at(-1) ?? ""}'`,
      }),
    ];
  });
}
