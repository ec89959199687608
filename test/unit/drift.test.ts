import { describe, expect, it } from "vitest";

import { fromStep } from "../../operations/drift/cloud.ts";
import { error, type Finding, matches, notice, refresh, RUN_SCRIPTS, warning } from "../../operations/drift/finding.ts";
import { compareConvex } from "../../operations/drift/convex.ts";
import { type Inside, parse } from "../../operations/drift/inside.ts";
import { State } from "../../operations/state.ts";
import { asAnnotations, asJson, asSummary, asText, EXIT_CODES, status } from "../../operations/drift/report.ts";

const report = (findings: Finding[], unknown: string[] = []) => ({ stack: "dev", findings, unknown });
const RULE = error("postgres.pg_hba", 'unexpected line 5 "host all | all"', RUN_SCRIPTS);
const ROLE = warning("postgres.roles.it's", "is a role", { why: "drop it", command: "psql -c 'DROP'" });
const DEATHS = notice("containers.a.restarts", "has died 1 time", { why: "see why" });

describe("a report", () => {
  it.each([
    ["clean", [], [], 0],
    ["clean with a notice", [DEATHS], [], 0],
    ["drift", [ROLE], [], 2],
    ["drift, though not all could be looked at", [RULE], ["the cloud"], 2],
    ["unknown, though nothing was found", [DEATHS], ["the cloud"], 1],
  ])("that is %s has its own exit code", (_, findings, unknown, code) => {
    expect(EXIT_CODES[status(report(findings, unknown))]).toBe(code);
  });

  it("tells the worst first, and one command for all that an up repairs", () => {
    const text = asText(
      report([DEATHS, ROLE, RULE, error("cloud.convex-firewall", "is not there", refresh("convex-firewall"))]),
    );
    expect(text.split("\n").filter((line) => !line.startsWith(" "))).toEqual([
      "error    cloud.convex-firewall: is not there",
      'error    postgres.pg_hba: unexpected line 5 "host all | all"',
      "warning  postgres.roles.it's: is a role",
      "notice   containers.a.restarts: has died 1 time",
      "Stack dev has drifted: 2 errors, 1 warning, 1 notice.",
      "Repair with: npx pulumi up --stack dev --refresh --run-program --target '**convex-firewall' --target '**convex-server' --target '**convex-setup' --target-dependents --replace '**convex-server' --replace '**convex-setup'",
      "",
    ]);
    expect(text).toContain(`drop it: npm run ssh -- --stack dev 'psql -c '\\''DROP'\\'''`);
  });

  it("is JSON with the repairs as text", () => {
    expect(JSON.parse(asJson(report([DEATHS], ["the cloud"])))).toEqual({
      stack: "dev",
      status: "unknown",
      findings: [{ path: DEATHS.path, severity: "notice", message: DEATHS.message, repair: "see why" }],
      unknown: ["the cloud"],
    });
  });

  it("keeps its line breaks and bars inside an annotation and a table", () => {
    const [annotation] = asAnnotations(report([error("a", "50 %\nand more", refresh("convex-firewall"))])).split("\n");
    expect(annotation).toBe(
      "::error title=Drift in dev::a: 50 %25%0Aand more%0Arepair: npx pulumi up --stack dev --refresh --run-program --target '**convex-firewall' --target-dependents%0Acosts:  nothing stops",
    );
    expect(asSummary(report([RULE]))).toContain('| error | `postgres.pg_hba` | unexpected line 5 "host all \\| all" |');
  });
});

it.each([
  ["containers.swarm*", "containers.swarm-platform.memory", true],
  ["containers.swarm", "containers.swarm-platform", false],
  ["files[/etc/a.b]", "files[/etc/axb]", false],
  ["files[/etc/*]", "files[/etc/a.b]", true],
])("pattern %s meets %s: %s", (pattern, path, met) => {
  expect(matches(path, pattern)).toBe(met);
});

describe("a step of the engine's preview", () => {
  const urn = "urn:pulumi:dev::convex-droplet::digitalocean:index/firewall:Firewall::convex-firewall";

  it("is a finding a property, with what is and what should be", () => {
    const step = {
      op: "update",
      urn,
      oldState: { inputs: { name: "a", tags: ["x"], rules: [{ port: "22" }] } },
      newState: { inputs: { name: "b", rules: [{ port: "23" }, { port: "5432" }] } },
      detailedDiff: {
        name: { kind: "update" },
        "tags[0]": { kind: "delete" },
        "rules[0].port": { kind: "update" },
        "rules[1]": { kind: "add" },
      },
    };
    expect(fromStep(step).map(({ path, message }) => `${path}: ${message}`)).toEqual([
      "cloud.convex-firewall.name: is b, it should be a",
      'cloud.convex-firewall.tags[0]: missing "x"',
      "cloud.convex-firewall.rules[0].port: is 23, it should be 22",
      'cloud.convex-firewall.rules[1]: unexpected {"port":"5432"}',
    ]);
  });

  it("finds in the outputs what was added: a provider keeps a list of inputs as long as it was, and a set has no order", () => {
    const rule = { port: "22", from: ["a", "b"], tags: [] };
    const step = {
      op: "update",
      urn,
      oldState: { inputs: { rules: [{ port: "22", from: ["a", "b"] }] }, outputs: { rules: [rule] } },
      newState: {
        inputs: { rules: [{ port: "22", from: ["a", "c"] }] },
        outputs: {
          rules: [
            { ...rule, from: ["a", "c", "b"] },
            { port: "5432", from: ["d"], tags: [] },
          ],
        },
      },
      detailedDiff: { "rules[0].from[1]": { kind: "add" }, "rules[1]": { kind: "add" } },
    };
    expect(fromStep(step).map(({ path, message }) => `${path}: ${message}`)).toEqual([
      'cloud.convex-firewall.rules[0].from[1]: unexpected "c"',
      'cloud.convex-firewall.rules[1]: unexpected {"port":"5432","from":["d"]}',
    ]);
  });

  it("tells of what is gone, and says nothing of what is the same", () => {
    expect(fromStep({ op: "delete", urn }).map(({ message }) => message)).toEqual(["is not there, it should be"]);
    expect(fromStep({ op: "refresh", urn, detailedDiff: null })).toEqual([]);
  });
});

describe("a backend that serves", () => {
  const envs = ["INSTANCE_NAME=convex-self-hosted", "INSTANCE_SECRET=s"];
  const backend = {
    type: "docker:index/container:Container",
    name: "convex-backend",
    id: "1",
    inputs: { envs },
    outputs: {},
  };
  const answers = (keys: Record<string, string>): Inside => {
    const well = {
      "backend.version": "unknown",
      "backend.instance_name": "convex-self-hosted",
      "backend.site": "",
      "backend.dashboard": "",
      "backend.instance_secret": "043a718774c572bd8a25adbeb1bfcd5c0256ae11cecf9f9c3f925d0e52beaf89",
    };
    const facts = Object.entries({ ...well, ...keys }).map(([name, text]) => [name, { exitCode: 0, text }] as const);
    return { differences: [], facts: new Map(facts) };
  };
  const full = '200\n{"success":true,"allowedOps":[],"isReadOnly":false}\n';
  const reader = '200\n{"success":true,"allowedOps":["ViewData"],"isReadOnly":true}\n';

  it.each([
    ["both keys are what they should be", full, reader, []],
    ["the key to read with may do more", full, full, ["backend.read_only_key: may change things, it should not"]],
    ["the admin key may do less", reader, reader, ["backend.admin_key: may only read, it should not"]],
    [
      "a key is refused",
      '401\n{"code":"BadAdminKey"}\n',
      reader,
      ["backend.admin_key: is answered with 401, it should be accepted: the backend runs with another secret or name"],
    ],
  ])("%s", (_, admin, readOnly, expected) => {
    const inside = answers({ "backend.admin_key": admin, "backend.read_only_key": readOnly });
    const findings = compareConvex(new State("dev", [backend]), inside);
    expect(findings.map(({ path, message }) => `${path}: ${message}`)).toEqual(expected);
  });
});

describe("what the machine tells", () => {
  it("is differences and facts", () => {
    const inside = parse("difference\0a.mode\x00644\x00666\0fact\0disk\x000\0/ 3%\n\0fact\0complete\x000\0\0");
    expect(inside.differences).toEqual([{ path: "a.mode", expected: "644", found: "666" }]);
    expect(inside.facts.get("disk")).toEqual({ exitCode: 0, text: "/ 3%\n" });
  });

  it("is refused where it was cut off", () => {
    expect(() => parse("fact\0disk\x000\0/ 3%\n\0", "Connection lost\n")).toThrow(
      "did not come to its end: Connection lost",
    );
  });
});
