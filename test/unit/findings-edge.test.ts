import { afterEach, describe, expect, it, vi } from "vitest";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import { namedValues } from "../../contract/scripts.ts";
import { compareReservedIp } from "../../operations/findings/cloud/reserved-ip.ts";
import { compareEdgeNames } from "../../operations/findings/edge/names.ts";
import { declaredEdge } from "../../operations/findings/expected.ts";
import { compareListeners } from "../../operations/findings/host/listeners.ts";
import type { Difference } from "../../operations/findings/inside.ts";
import { compare } from "../../operations/findings/look.ts";
import { costsOf, repairText } from "../../operations/findings/repair.ts";
import { fromScript } from "../../operations/findings/scripts.ts";
import { insideOf, stateOf, type Told, told } from "./findings.ts";

afterEach(() => {
  vi.unstubAllGlobals();
});

const NAMED = {
  ...{ address: "192.0.2.7", api_host: "api.example.com", site_host: "site.example.com", dashboard_host: "" },
  trusted_proxies: [] as string[],
};
const edge = (values: Partial<typeof NAMED> = {}) => ({
  ...{ type: TYPES.command, name: RESOURCES.edge },
  inputs: { stdin: namedValues({ ...NAMED, ...values }) },
});
const record = (name: string) => ({
  ...{ type: TYPES.record, name: "convex-api-record" },
  inputs: { domain: "example.com", name },
});

describe("what a stack serves", () => {
  it("is all its names, at its address", () => {
    expect(declaredEdge(stateOf(edge({ dashboard_host: "dash.example.com" })))).toEqual({
      hosts: ["api.example.com", "site.example.com", "dash.example.com"],
      address: "192.0.2.7",
      hasProxies: false,
    });
    expect(declaredEdge(stateOf(edge({ trusted_proxies: ["198.51.100.0/24", "203.0.113.0/24"] })))?.hasProxies).toBe(
      true,
    );
  });

  it.each([
    ["without a domain", [edge({ api_host: "", site_host: "", address: "" })]],
    ["of an earlier release", []],
  ])("is nothing in a stack %s", (_, resources) => {
    expect(declaredEdge(stateOf(...resources))).toBeUndefined();
    expect(compareEdgeNames(stateOf(...resources), insideOf({ "edge.names": "api.example.com 198.51.100.1" }))).toEqual(
      [],
    );
  });
});

describe("a name", () => {
  const found = (line: string, ...resources: Parameters<typeof stateOf>) =>
    told(compareEdgeNames(stateOf(edge(), ...resources), insideOf({ "edge.names": `${line}\n` })));
  const claim = (message: string) => `error edge edge.names edge.names[api.example.com]: ${message}`;
  const BY_HAND =
    "set the record A api.example.com 192.0.2.7 at the domain's DNS provider, and no other address for this name";
  const REGISTRAR =
    "; if its record in the account is as declared, the domain's registrar names other servers than DigitalOcean's";

  it("that leads to the stack's address only is not found", () => {
    expect(found("api.example.com 192.0.2.7")).toEqual([]);
  });

  it.each<[addresses: string, records: ReturnType<typeof record>[], ...told: Told]>([
    ["", [], claim("has no record, it should lead to 192.0.2.7"), BY_HAND],
    ["198.51.100.1", [], claim("leads to 198.51.100.1, it should lead to 192.0.2.7"), BY_HAND],
    ["192.0.2.7 2001:db8::1", [], claim("leads to 192.0.2.7 and 2001:db8::1, it should lead to 192.0.2.7"), BY_HAND],
    [
      "",
      [record("api")],
      claim(`has no record, it should lead to 192.0.2.7${REGISTRAR}`),
      "replace ; refresh convex-api-record",
    ],
    [
      "198.51.100.1",
      [record("api")],
      claim(`leads to 198.51.100.1, it should lead to 192.0.2.7${REGISTRAR}`),
      "replace ; refresh convex-api-record",
    ],
    [
      "192.0.2.7 2001:db8::1",
      [record("api")],
      claim("leads to 192.0.2.7 and 2001:db8::1, it should lead to 192.0.2.7"),
      "delete the name's other records, which doctl compute domain records list example.com shows",
    ],
  ])("with the addresses %j and the records %j is found", (addresses, records, message, repair) => {
    expect(found(`api.example.com ${addresses}`, ...records)).toEqual([[message, repair]]);
  });

  it("that is the domain itself has the record @", () => {
    const [finding] = compareEdgeNames(
      stateOf(edge({ api_host: "example.com" }), record("@")),
      insideOf({ "edge.names": "example.com" }),
    );
    expect(finding?.repair).toEqual({ up: [], refresh: ["convex-api-record"] });
    expect(finding).toMatchObject({ expected: "192.0.2.7", found: "no record" });
  });

  it("is only a notice if nobody answers", () => {
    expect(found("api.example.com unanswered")).toEqual([
      [
        "notice edge edge.names edge.names[api.example.com]: could not be looked up: no name server of its domain answers the droplet",
        "dig +trace api.example.com",
      ],
    ]);
  });
});

describe("a difference that edge.sh finds", () => {
  const difference = (subject: string, property: string, expected: string, found: string): Difference => ({
    ...{ script: "edge.sh", area: "edge", subject, property, expected, found },
  });

  it.each<[Difference, ...told: Told]>([
    [
      difference("edge.certificate", "validity", "more than a quarter of its lifetime left", "expired on 2026-11-01"),
      "error edge edge.sh edge.certificate.validity: is expired on 2026-11-01, it should be more than a quarter of its lifetime left",
      "replace convex-edge; refresh ",
    ],
    [
      difference("files[/etc/nginx/nginx.conf]", "content", "a\nb", "a"),
      'error edge edge.sh files[/etc/nginx/nginx.conf]: missing line "b"',
      "replace convex-edge; refresh ",
    ],
    [
      difference("edge", "volume", "mounted", "not mounted"),
      "error edge edge.sh edge.volume: is not mounted, it should be mounted",
      "replace convex-setup convex-edge; refresh ",
    ],
  ])("%j", (given, claim, repair) => {
    const [finding] = fromScript(given);
    expect(told(finding === undefined ? [] : [{ ...finding, path: finding.path.replace(".content", "") }])).toEqual([
      [claim, repair],
    ]);
  });

  it("is repaired without a stop", () => {
    const [finding] = fromScript(difference("units.nginx.service", "active", "active", "failed"));
    const repair = finding?.repair ?? { why: "" };
    expect(repairText("dev", repair)).toBe("npx pulumi up --stack dev --replace '**convex-edge'");
    expect("up" in repair && costsOf(repair)).toBe("nginx reads its configuration again: nothing stops");
  });

  it("is the only one about a unit that failed", () => {
    const key = { type: TYPES.key, name: RESOURCES.deployKey, outputs: { publicKeyOpenssh: "ssh-ed25519 A" } };
    const facts = {
      authorized_keys: [{ path: "/root/.ssh/authorized_keys", content: "ssh-ed25519 A" }],
      "docker.containers": [],
      "postgres.roles": [{ name: "postgres", superuser: true, inherit: true, connection_limit: -1, valid_until: null }],
      "units.failed": "nginx.service\ncertbot.service\n",
    };
    const failed = difference("units.nginx.service", "active", "active", "failed");
    expect(compare(stateOf(edge(), key), insideOf(facts, failed)).map(({ path }) => path)).toEqual([
      "units.nginx.service.active",
      "units[certbot.service]",
    ]);
  });
});

describe("nginx's listeners", () => {
  const listeners = ["0.0.0.0:80", "0.0.0.0:443"].map((address) => `LISTEN 0 511 ${address} 0.0.0.0:*`).join("\n");

  it.each([
    ["are declared with names", {}, []],
    [
      "are not declared without names",
      { api_host: "", site_host: "" },
      ["listeners.0.0.0.0:80", "listeners.0.0.0.0:443"],
    ],
  ])("%s", (_, values, paths) => {
    expect(compareListeners(stateOf(edge(values)), insideOf({ listeners })).map(({ path }) => path)).toEqual(paths);
  });
});

describe("a reserved address", () => {
  const DROPLET = { type: TYPES.droplet, name: RESOURCES.droplet, id: "7" };
  const PROVIDER = { type: "pulumi:providers:digitalocean", name: "default", inputs: { token: "dop_v1" } };
  const ADDRESS = { type: TYPES.reservedIp, name: RESOURCES.reservedIp, id: "192.0.2.7" };
  const found = async (answer: Response, ...resources: Parameters<typeof stateOf>) => {
    const asked: string[] = [];
    vi.stubGlobal("fetch", (url: URL) => {
      asked.push(new URL(url).pathname);
      return Promise.resolve(answer);
    });
    return { asked, findings: told(await compareReservedIp(stateOf(...resources))) };
  };
  const assigned = (droplet: object | null) => Response.json({ reserved_ip: { ip: "192.0.2.7", droplet } });

  it("that leads to no droplet is found, because no refresh shows it", async () => {
    expect(await found(assigned(null), DROPLET, PROVIDER, ADDRESS)).toEqual({
      asked: ["/v2/reserved_ips/192.0.2.7"],
      findings: [
        [
          "error cloud DigitalOcean cloud.convex-reserved-ip.droplet: 192.0.2.7 leads to no droplet, it should lead to 7",
          "no refresh shows it, so assign the address: doctl compute reserved-ip-action assign 192.0.2.7 7",
        ],
      ],
    });
  });

  it.each<[what: string, answer: Response]>([
    ["leads to the droplet", assigned({ id: 7 })],
    ["leads to another droplet", assigned({ id: 8 })],
    ["is gone", Response.json({ id: "not_found" }, { status: 404 })],
  ])("that %s is the refresh's finding, or none", async (_, answer) => {
    expect((await found(answer, DROPLET, PROVIDER, ADDRESS)).findings).toEqual([]);
  });

  it("is not asked for if the stack has none", async () => {
    expect(await found(assigned(null), DROPLET, PROVIDER)).toEqual({ asked: [], findings: [] });
  });
});
