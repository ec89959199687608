import { describe, expect, it } from "vitest";

import { fromStep, reasonOf } from "../../operations/findings/cloud/refresh.ts";
import { grown } from "../../operations/findings/cloud/volume.ts";
import { type Finding, findingsBy, matches } from "../../operations/findings/finding.ts";
import { parse } from "../../operations/findings/inside.ts";
import { refresh, RUN_BOTH } from "../../operations/findings/repair.ts";
import { asAnnotations, asJson, asSummary, asText, EXIT_CODES, status } from "../../operations/drift/report.ts";

const report = (findings: Finding[], unknown: string[] = []) => ({ stack: "dev", findings, unknown });
const { error } = findingsBy("postgres.hba", "postgres");
const RULE = error("postgres.pg_hba", { message: 'unexpected line 5 "host all | all"' }, RUN_BOTH);
const DROP = { why: "drop it", command: "psql -c 'DROP'" };
const ROLE = findingsBy("postgres.roles", "postgres").warning("postgres.roles.it's", { message: "is a role" }, DROP);
const DEATHS = findingsBy("docker.containers", "containers").notice(
  ["containers.a", "restarts"],
  { expected: 0, found: 1, message: "has died 1 time" },
  { why: "see why" },
);

describe("a report", () => {
  it.each([
    ["clean", [], [], 0],
    ["clean with a notice", [DEATHS], [], 0],
    ["drift", [ROLE], [], 2],
    ["drift, though not everything could be checked", [RULE], ["the cloud"], 2],
    ["unknown, though nothing was found", [DEATHS], ["the cloud"], 1],
  ])("that is %s has its own exit code", (_, findings, unknown, code) => {
    expect(EXIT_CODES[status(report(findings, unknown))]).toBe(code);
  });

  it("lists the worst first, and one command for all that an up repairs", () => {
    const text = asText(
      report([
        DEATHS,
        ROLE,
        RULE,
        error("cloud.convex-firewall", { message: "is not there" }, refresh("convex-firewall")),
      ]),
    );
    expect(text.split("\n").filter((line) => !line.startsWith(" "))).toEqual([
      "error    cloud.convex-firewall: is not there",
      'error    postgres.pg_hba: unexpected line 5 "host all | all"',
      "warning  postgres.roles.it's: is a role",
      "notice   containers.a.restarts: has died 1 time",
      "Stack dev has drifted: 2 errors, 1 warning, 1 notice.",
      "Repair with: npx pulumi up --stack dev --refresh --run-program --target '**convex-firewall' --target '**convex-server' --target '**convex-setup' --target-dependents --skip-preview --yes --replace '**convex-server' --replace '**convex-setup'",
      "",
    ]);
    expect(text).toContain(`drop it: npm run ssh -- --stack dev 'psql -c '\\''DROP'\\'''`);
  });

  it("is JSON with the repairs as text", () => {
    expect(JSON.parse(asJson(report([DEATHS], ["the cloud"])))).toEqual({
      stack: "dev",
      status: "unknown",
      findings: [
        {
          area: "containers",
          source: "docker.containers",
          subject: "containers.a",
          property: "restarts",
          path: "containers.a.restarts",
          severity: "notice",
          expected: 0,
          found: 1,
          message: "has died 1 time",
          repair: "see why",
        },
      ],
      unknown: ["the cloud"],
    });
  });

  it("escapes line breaks in an annotation and bars in a table", () => {
    const [annotation] = asAnnotations(
      report([error("a", { message: "50 %\nand more" }, refresh("convex-firewall"))]),
    ).split("\n");
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

  it("is one finding for each property, with what it is and what it should be", () => {
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

  it("finds additions in the outputs, because a provider does not lengthen a list of inputs, and a set has no order", () => {
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

  it("shows what the provider read if the input is still as declared, and ignores the engine's own properties", () => {
    const step = {
      op: "update",
      urn: urn.replace("firewall:Firewall::convex-firewall", "droplet:Droplet::convex-droplet"),
      oldState: { inputs: { size: "small" }, outputs: { size: "small", disk: 80 } },
      newState: { inputs: { size: "small" }, outputs: { size: "large", disk: 80 } },
      detailedDiff: { size: { kind: "update" }, __meta: { kind: "update" } },
    };
    const found = [
      findingsBy("DigitalOcean", "cloud").error(
        ["cloud.convex-droplet", "size"],
        { expected: "small", found: "large" },
        refresh("convex-droplet", "the droplet is switched off and resized: some minutes without answers"),
      ),
    ];
    expect(fromStep(step)).toEqual(found);
    const grownDisk = { ...step, newState: { inputs: { size: "small" }, outputs: { size: "large", disk: 160 } } };
    expect(fromStep(grownDisk)).toMatchObject([
      { repair: { why: expect.stringContaining("npx pulumi config set --stack dev size large &&") as unknown } },
    ]);
    const detached = { ...step, detailedDiff: { "volumeIds[0]": { kind: "delete" } } };
    expect(fromStep(detached)).toMatchObject([{ repair: { up: RUN_BOTH.up, refresh: ["convex-droplet"] } }]);
  });

  it("reports what is gone, and nothing that is the same", () => {
    expect(fromStep({ op: "delete", urn }).map(({ message }) => message)).toEqual(["is not there, it should be"]);
    expect(fromStep({ op: "refresh", urn, detailedDiff: null })).toEqual([]);
  });
});

describe("the reason why the cloud cannot be asked", () => {
  const failed = (stdout: string, stderr = "") =>
    Object.assign(new Error("Command failed: pulumi refresh"), { stdout, stderr });
  const urn =
    "urn:pulumi:dev::convex-droplet::convex-droplet:index:Host$digitalocean:index/volume:Volume::convex-volume";
  const hooks = { steps: [{ oldState: { resourceHooks: { OnError: ["convex-lost-in-cloud"] } } }] };
  const told = (message: string, of?: string) =>
    JSON.stringify(
      {
        ...hooks,
        diagnostics: [
          { message: "warning: old\n", severity: "warning" },
          { urn: of, message, severity: "error" },
        ],
      },
      undefined,
      4,
    );

  it.each([
    [
      "a provider",
      failed(
        told(
          "error:   sdk-v2/provider2.go:571: sdk.helper_schema: Error retrieving it: 401: provider=digitalocean@4.80.1\n",
          urn,
        ),
      ),
      "convex-volume: Error retrieving it: 401",
    ],
    [
      "the program",
      failed(told("error: convex-droplet:size: is none.\n", "urn:pulumi:dev::p::pulumi:pulumi:Stack::p-dev")),
      "convex-droplet:size: is none.",
    ],
    ["the engine, before it begins", failed("", "error: no stack named 'dev' found\n"), "no stack named 'dev' found"],
    ["the failed command, if nothing else was printed", failed(""), "Command failed: pulumi refresh"],
  ])("is taken from %s", (_, failure, reason) => {
    expect(reasonOf(failure)).toBe(reason);
  });
});

it("a volume that is larger than declared is found, with the commands that adopt its size", () => {
  expect(grown("dev", 150, 150)).toEqual([]);
  const [finding] = grown("dev", 150, 100);
  expect(finding).toMatchObject({ path: "cloud.convex-volume.size", message: "is 150, it should be 100" });
  expect(finding?.repair).toEqual({
    why:
      "no volume shrinks, so let the stack have it as it is: npx pulumi config set --stack dev volumeSizeGb 150 && " +
      "PULUMI_ENABLE_LEGACY_REFRESH_DIFF=true npx pulumi refresh --stack dev --yes --target '**convex-volume' && npx pulumi up --stack dev",
  });
});

describe("what the machine prints", () => {
  it("becomes differences and facts", () => {
    const inside = parse(
      "difference\0host.sh\0volume\0a\0mode\x00644\x00666\0fact\0disk\x000\0/ 3%\n\0fact\0complete\x000\0\0",
    );
    expect(inside.differences).toEqual([
      { script: "host.sh", area: "volume", subject: "a", property: "mode", expected: "644", found: "666" },
    ]);
    expect(inside.facts.get("disk")).toEqual({ exitCode: 0, text: "/ 3%\n" });
  });

  it("is refused if it was cut off", () => {
    expect(() => parse("fact\0disk\x000\0/ 3%\n\0", "Connection lost\n")).toThrow(
      "did not come to its end: Connection lost",
    );
  });
});
