import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { AUTHORITY_FILE, DATA, HOST_IN_CONTAINERS, NETWORK } from "../../contract/names.ts";
import { projectFolder } from "../../sandbox/project.ts";
import { eventually, run, TestCloud } from "./harness.ts";
import { readRow, writeRow } from "./probe.ts";
import { stepByStep } from "../steps.ts";

/** The recorded stacks had this name, which is part of every URN. */
const STACK = "sandbox";

/** A state that an earlier release wrote on a sandbox. */
interface Recorded {
  file: string;
  /** It is used for nothing else. */
  passphrase: string;
  /** The settings that were not the defaults. */
  settings: Record<string, string>;
  /** What the present program does to it. */
  steps: string[];
}

/** The last release that reached PostgreSQL without TLS. Its stack is also deployed and brought to the present form. */
const WITHOUT_TLS_STATE: Recorded = {
  file: "before-named-values.json",
  passphrase: "h3HiELITqS0uhwbNThbVa1FX81p1DqCzmaPgOhRcFs8",
  settings: { tunnelPort: "15555" },
  steps: [
    // The server's certificate, the edge without names, backups that are off, a rehearsal of images, and a component, which is
    // only a parent for resources that exist.
    "create Backups convex",
    "create CertRequest convex-postgres-certificate-request",
    "create Command convex-backups",
    "create Command convex-edge",
    "create Command convex-rehearsal",
    "create Database convex",
    "create Edge convex",
    "create Firewall convex-public-firewall",
    "create LocallySignedCert convex-postgres-certificate",
    "create PrivateKey convex-postgres-authority-key",
    "create PrivateKey convex-postgres-certificate-key",
    // What is in the project, apart from what DigitalOcean puts there.
    "create ProjectResources convex-project-resources",
    // Where the database is.
    "create RandomUuid convex-database-place",
    "create Repository convex",
    "create SelfSignedCert convex-postgres-authority",
    // The backend connects over TLS, and is checked again.
    "replace Command convex-acceptance",
    "replace Container convex-backend",
    // The scripts run again. Only the server's changes something: it switches on TLS.
    "update Command convex-function-environment",
    "update Command convex-server",
    "update Command convex-setup",
    "update CopyToRemote convex-scripts",
    // The state records that the droplet's disk does not grow.
    "update Droplet convex-droplet",
    // The public ports have a firewall of their own.
    "update Firewall convex-firewall",
  ],
};

/** The first release with backups and snapshots. */
const WITH_BACKUPS_STATE: Recorded = {
  file: "with-backups.json",
  passphrase: "z5Il4TKFu0Vd3AAeL04RAmw-Ak4qfecOeMek9LE3k98",
  settings: { tunnelPort: "13278", backups: "spaces", volumeSnapshots: "3" },
  steps: [
    // It tries the next backend image.
    "create Command convex-rehearsal",
    // Where the database is.
    "create RandomUuid convex-database-place",
    // A component, which is only a parent for resources that exist.
    "create Spaces convex",
    // The scripts run again, and change nothing.
    "update Command convex-acceptance",
    "update Command convex-backups",
    "update Command convex-edge",
    "update Command convex-function-environment",
    "update Command convex-server",
    "update Command convex-setup",
    "update CopyToRemote convex-scripts",
    // The provider of Spaces, whose address is another in each sandbox.
    "update digitalocean convex-spaces",
  ],
};

/**
 * Inputs whose recorded values are the earlier release's: positional arguments, other scripts, a disk that grows, a health check
 * without TLS, a container without a certificate, one firewall for all ports.
 */
const EARLIER_INPUTS = new Set(["create", "source", "resizeDisk", "healthcheck", "volumes", "inboundRules"]);

const BACKEND = "Container convex-backend";
const ETC = "/etc/postgresql/17/main";

/** Brings a droplet back to the earlier release's form, in which the backend reaches PostgreSQL without TLS. */
const WITHOUT_TLS = `set -eu
cd ${ETC}
sed -i 's/^hostssl/host   /' pg_hba.d/10-convex-droplet.conf
sed -i '/^ssl_/d; s/^ssl = .*/ssl = off/' conf.d/10-convex-droplet.conf
rm server.key server.crt ${AUTHORITY_FILE}
systemctl reload postgresql@17-main
docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' convex-backend |
  sed '/^$/d; /^PG_CA_FILE=/d; s/^POSTGRES_URL=.*/&?sslmode=disable\\nDO_NOT_REQUIRE_SSL=true/' > /run/earlier.env
image=$(docker inspect --format '{{.Config.Image}}' convex-backend)
docker rm --force convex-backend > /dev/null
docker run --detach --name convex-backend --env-file /run/earlier.env --network convex --network-alias backend \
  --add-host ${HOST_IN_CONTAINERS}:${NETWORK.gateway} --restart unless-stopped --publish 3210:3210 --publish 3211:3211 \
  --volume ${DATA}:/convex/data "$image"
rm /run/earlier.env`;

interface Resource {
  urn: string;
  type: string;
  id?: string;
  inputs?: Record<string, unknown>;
  outputs?: Record<string, unknown>;
}

interface State {
  deployment: { resources: Resource[] };
}

let cloud: TestCloud;

beforeAll(async () => {
  cloud = await TestCloud.start();
});

afterAll(() => cloud[Symbol.asyncDispose]());

it("a stack with backups plans no change that CHANGELOG does not name", async () => {
  await expectPlan(WITH_BACKUPS_STATE);
});

// Each test continues where the one before ended.
describe("a stack without TLS", () => {
  const { steps } = WITHOUT_TLS_STATE;
  stepByStep();

  let recorded: State;
  let deployed: State;
  let outputs: Record<string, string>;
  let server: string;

  it("plans to replace only the backend's container and what waits for it", async () => {
    recorded = await expectPlan(WITHOUT_TLS_STATE);
  });

  it("plans the same if its resources exist", async () => {
    await cloud.createStack(STACK, { "allowedCidrs[0]": "127.0.0.0/8" });
    expect(await cloud.up(STACK)).toMatchObject({ exitCode: 0 });
    outputs = await cloud.outputs(STACK);
    await withOneFirewall();
    const container = (await onDroplet(WITHOUT_TLS)).trim();
    await eventually("the backend to answer without TLS", 90, async () => {
      await writeRow(outputs["backendUrl"] ?? "", "written", "before");
    });
    server = await inPostgres(SERVER);
    expect(await inPostgres(CONNECTIONS)).toBe("f");

    deployed = asRecorded(await exported(), recorded, container);
    const earlier = path.join(cloud.home.root, "earlier.json");
    await writeFile(earlier, JSON.stringify(deployed));
    expect(await cloud.pulumi(["stack", "import", "--stack", STACK, "--file", earlier])).toMatchObject({ exitCode: 0 });
    expect(planned((await cloud.pulumi(["preview", "--json", "--stack", STACK])).stdout)).toEqual(steps);
  });

  it("moves to TLS in one up, and keeps every other resource, every output, the server and its documents", async () => {
    const up = await cloud.up(STACK);
    expect(up.exitCode, up.all).toBe(0);
    expect(idsOf(await exported())).toEqual({ ...idsOf(deployed), ...idsMadeBy(steps) });
    expect(await cloud.outputs(STACK)).toEqual(outputs);
    expect(await readRow(outputs["backendUrl"] ?? "", "written")).toBe("before");
    expect(await inPostgres(SERVER)).toBe(server);
    expect(await inPostgres(CONNECTIONS)).toBe("t");
  });

  it("is as declared afterwards", async () => {
    const again = await cloud.up(STACK, "--expect-no-changes");
    expect(again.exitCode, again.all).toBe(0);
    const drift = await cloud.operate("drift", STACK);
    expect(drift.exitCode, drift.all).toBe(0);
  });
});

/** Checks what the present program plans for a recorded state whose resources do not exist. Returns the state. */
async function expectPlan({ file, passphrase, settings, steps }: Recorded): Promise<State> {
  const env = { ...cloud.env, PULUMI_CONFIG_PASSPHRASE_FILE: undefined, PULUMI_CONFIG_PASSPHRASE: passphrase };
  const pulumi = async (args: string[], input = "") => {
    const done = await run("pulumi", [...args, "--non-interactive"], projectFolder(cloud.home), { env, input });
    expect(done.exitCode, done.all).toBe(0);
    return done.stdout;
  };
  const text = await readFile(new URL(`states/${file}`, import.meta.url), "utf8");
  const recorded = JSON.parse(text) as State;
  await pulumi(["stack", "init", STACK]);
  await pulumi(["stack", "import", "--stack", STACK], text);
  for (const [key, value] of Object.entries({
    size: "s-2vcpu-4gb",
    ...settings,
    backendImage: find(recorded, "convex-backend").inputs?.["image"],
    dashboardImage: find(recorded, "convex-dashboard").inputs?.["image"],
  })) {
    await pulumi(["config", "set", "--stack", STACK, key, String(value)]);
  }
  await pulumi(["config", "set", "--stack", STACK, "--path", "allowedCidrs[0]", "127.0.0.0/8"]);
  expect(planned(await pulumi(["preview", "--json", "--stack", STACK]))).toEqual(steps);
  await pulumi(["stack", "rm", "--force", "--yes", "--stack", STACK]);
  return recorded;
}

/** Brings the cloud back to the earlier release's form, in which the stack has one firewall. */
async function withOneFirewall(): Promise<void> {
  type Firewall = { id: string; name: string; inbound_rules: object[] };
  const listed = (await (await cloud.cloud("GET", "/v2/firewalls")).json()) as { firewalls: Firewall[] };
  const [own, open] = ["", "-public"].map((way) =>
    listed.firewalls.find(({ name }) => name === `convex-${STACK}${way}`),
  );
  if (own === undefined || open === undefined) throw new Error("the stack has not both firewalls");
  const inbound_rules = [...own.inbound_rules, ...open.inbound_rules];
  await cloud.cloud("PUT", `/v2/firewalls/${own.id}`, { ...own, inbound_rules });
  await cloud.cloud("DELETE", `/v2/firewalls/${open.id}`);
}

/** The cluster, and since when its server runs. */
const SERVER = "SELECT system_identifier, pg_postmaster_start_time() FROM pg_control_system()";

/** Whether the backend's connections use TLS. */
const CONNECTIONS = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'convex'";

function inPostgres(statement: string): Promise<string> {
  return onDroplet(`cd / && runuser -u postgres -- psql -qAtX -c "${statement}"`);
}

async function onDroplet(command: string): Promise<string> {
  const { exitCode, stdout, all } = await cloud.onDroplet(STACK, command);
  expect(exitCode, all).toBe(0);
  return stdout;
}

async function exported(): Promise<State> {
  return JSON.parse((await cloud.pulumi(["stack", "export", "--show-secrets", "--stack", STACK])).stdout) as State;
}

/** What a preview plans to do, sorted: operation, type and logical name. */
function planned(preview: string): string[] {
  const { steps } = JSON.parse(preview) as { steps: { op: string; urn: string }[] };
  return steps
    .filter(({ op }) => op !== "same")
    .map(({ op, urn }) => `${op} ${label(urn)}`)
    .toSorted();
}

/** Type and logical name. */
function label(urn: string): string {
  const [type = "", name = ""] = urn.split("::").slice(-2);
  return `${type.split(":").at(-1) ?? ""} ${name}`;
}

function find({ deployment }: State, name: string): Resource {
  const found = deployment.resources.find(({ urn }) => urn.endsWith(`::${name}`));
  if (found === undefined) throw new Error(`the state has no ${name}`);
  return found;
}

/** The ids of all resources that providers have created, by type and logical name. */
function idsOf({ deployment }: State): Record<string, unknown> {
  const created = deployment.resources.filter(({ type, id }) => id !== undefined && !isProvider(type));
  return Object.fromEntries(created.map(({ urn, id }) => [label(urn), id]));
}

/** The new ids that a plan gives, by type and logical name. A component has none. */
function idsMadeBy(steps: string[]): Record<string, unknown> {
  const made = steps.flatMap(
    (step) => /^(?:create|replace) (?!Backups |Database |Edge |Repository )(.*)/.exec(step)?.[1] ?? [],
  );
  return Object.fromEntries(made.map((name) => [name, expect.any(String) as unknown]));
}

function isProvider(type: string): boolean {
  return type.startsWith("pulumi:providers:");
}

/**
 * The recorded resources with their places, options and arguments, and with the ids and values of the deployed ones.
 *
 * @param container  id of the backend's container
 */
function asRecorded(deployed: State, recorded: State, container: string): State {
  const current = new Map(deployed.deployment.resources.map((resource) => [label(resource.urn), resource]));
  const resources = recorded.deployment.resources.map((resource): Resource => {
    const { id, inputs = {}, outputs = {} } = current.get(label(resource.urn)) ?? resource;
    return {
      ...resource,
      // The recorded resources refer to their provider by its id.
      ...(id === undefined || isProvider(resource.type) ? {} : { id }),
      inputs: withValues(resource.inputs, inputs),
      outputs: withValues(resource.outputs, outputs),
      ...(label(resource.urn) === BACKEND && { id: container }),
    };
  });
  return { ...deployed, deployment: { ...deployed.deployment, resources } };
}

/** The recorded properties with the values of the deployed ones. */
function withValues(recorded: Record<string, unknown> = {}, deployed: Record<string, unknown>) {
  return Object.fromEntries(
    Object.entries(recorded)
      .filter(([key]) => key in deployed)
      .map(([key, value]) => [key, EARLIER_INPUTS.has(key) ? value : earlierValue(key, deployed[key])]),
  );
}

/** Of the backend's variables, which are secret, the earlier release had others for PostgreSQL. */
function earlierValue(key: string, value: unknown): unknown {
  const { plaintext = "" } = key === "envs" ? (value as { plaintext?: string }) : {};
  if (!plaintext.includes("POSTGRES_URL=")) return value;
  const variables = (JSON.parse(plaintext) as string[])
    .filter((variable) => !variable.startsWith("PG_CA_FILE="))
    .map((variable) => (variable.startsWith("POSTGRES_URL=") ? `${variable}?sslmode=disable` : variable));
  return { ...(value as object), plaintext: JSON.stringify([...variables, "DO_NOT_REQUIRE_SSL=true"].toSorted()) };
}
