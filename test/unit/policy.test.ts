import { spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";

import grpc from "@grpc/grpc-js";
import * as pulumi from "@pulumi/pulumi";
import analyzerService from "@pulumi/pulumi/proto/analyzer_grpc_pb.js";
import analyzer from "@pulumi/pulumi/proto/analyzer_pb.js";
import struct from "google-protobuf/google/protobuf/struct_pb.js";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import { POLICY_PACK } from "../../contract/run-pulumi.ts";
import { configure, mockEngine, options } from "./program.ts";

// All unit tests share a process: another file may have imported what this one mocks.
vi.hoisted(() => vi.resetModules());
vi.mock(import("../../ssh/run-tunnel.ts"), async (original) => {
  const { output } = await import("@pulumi/pulumi");
  const tunnel = { dockerHost: output("unix:///tmp/docker.sock"), postgresPort: output(20_000) };
  return { ...(await original()), openRunTunnel: () => tunnel };
});
vi.mock(import("../../ssh/agent.ts"), () => ({ openEmptyAgent: (key) => key.apply(() => "/tmp/agent.sock") }));

type Inputs = Record<string, unknown>;
interface Resource {
  type: string;
  name: string;
  inputs: Inputs;
  protect: boolean;
}

/** The engine protocol's mark of a secret. */
const secret = (value: unknown) => ({
  [pulumi.runtime.specialSigKey]: pulumi.runtime.specialSecretSig,
  value,
});

/** The policy pack, as the engine runs it. */
class Pack {
  readonly #client: analyzerService.AnalyzerClient;
  readonly #end: () => Promise<unknown>;

  private constructor(port: string, end: () => Promise<unknown>) {
    this.#client = new analyzerService.AnalyzerClient(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
    this.#end = end;
  }

  static async start(config: Record<string, string> = {}): Promise<Pack> {
    const runner = createRequire(import.meta.url).resolve("@pulumi/pulumi/cmd/run-policy-pack");
    const node = spawn(process.execPath, [runner, "127.0.0.1:1", POLICY_PACK], {
      cwd: POLICY_PACK,
      env: { ...process.env, PULUMI_NODEJS_PROJECT: "convex-droplet", PULUMI_CONFIG: JSON.stringify(config) },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = once(node, "close");
    const [port] = (await once(node.stdout, "data")) as [Buffer];
    return new Pack(port.toString().trim(), () => (node.kill(), ended));
  }

  /**
   * The violations of a stack's resources as `level rule: message`, in the order in which the engine asks for them.
   *
   * @param single  the resources that are also checked one by one
   */
  async check(stack: string, resources: Resource[], single = resources): Promise<string[]> {
    const found: analyzer.AnalyzeDiagnostic[] = [];
    for (const resource of single) {
      const request = fill(new analyzer.AnalyzeRequest(), stack, resource);
      const repaired = await this.#call<analyzer.RemediateResponse>("remediate", request);
      expect(repaired.getRemediationsList()).toEqual([]);
      found.push(...(await this.#call<analyzer.AnalyzeResponse>("analyze", request)).getDiagnosticsList());
    }
    const all = resources.map((resource) => fill(new analyzer.AnalyzerResource(), stack, resource));
    const request = new analyzer.AnalyzeStackRequest().setResourcesList(all);
    found.push(...(await this.#call<analyzer.AnalyzeResponse>("analyzeStack", request)).getDiagnosticsList());
    return found.map((one) => {
      const level = one.getEnforcementlevel() === analyzer.EnforcementLevel.MANDATORY ? "mandatory" : "advisory";
      return `${level} ${one.getPolicyname()}: ${one.getMessage().split("\n").slice(1).join("\n")}`;
    });
  }

  #call<Response>(name: "remediate" | "analyze" | "analyzeStack", request: unknown): Promise<Response> {
    const call = this.#client[name].bind(this.#client) as unknown as (
      request: unknown,
      done: (error: Error | null, response: Response) => void,
    ) => void;
    return new Promise((resolve, reject) => {
      call(request, (error, response) => {
        if (error === null) resolve(response);
        else reject(error);
      });
    });
  }

  async end(): Promise<void> {
    this.#client.close();
    await this.#end();
  }
}

function fill<Request extends analyzer.AnalyzeRequest | analyzer.AnalyzerResource>(
  request: Request,
  stack: string,
  { type, name, inputs, protect }: Resource,
): Request {
  request.setType(type);
  request.setName(name);
  request.setUrn(`urn:pulumi:${stack}::convex-droplet::${type}::${name}`);
  request.setProperties(struct.Struct.fromJavaScript(inputs as Record<string, never>));
  request.setOptions(new analyzer.AnalyzerResourceOptions().setProtect(protect));
  return request;
}

/** The resources that the whole program registers with these settings. */
async function resourcesOf(settings: Record<string, unknown>): Promise<Resource[]> {
  vi.resetModules();
  configure({ protectData: true, ...settings });
  const registered = await mockEngine(outputsOf, ({ token }) =>
    token.endsWith(":getSizes") ? { sizes: SIZES } : token.endsWith(":getDatabaseCa") ? { certificate: "PEM" } : {},
  );
  vi.stubGlobal("fetch", () => Promise.resolve(Response.json({ options: { pg: OFFERED } })));
  await import("../../index.ts");
  await pulumi.runtime.disconnect();
  vi.unstubAllGlobals();
  return registered.map(({ type, name, inputs }) => {
    const protect = options.get(`${name} ${type.split(":").at(-1) ?? ""}`)?.["protect"] === true;
    // Without assets, which are no data.
    return { type, name, inputs: JSON.parse(JSON.stringify(inputs)) as Inputs, protect };
  });
}

const SIZES = [
  { slug: "s-2vcpu-4gb", memory: 4096, vcpus: 2, disk: 80, regions: ["nyc3"], available: true, priceMonthly: 24 },
];
const OFFERED = { regions: ["nyc3"], versions: ["17"], layouts: [{ num_nodes: 1, sizes: ["db-s-2vcpu-4gb"] }] };

/** What the providers answer; secret as their SDKs and plugins mark it. */
function outputsOf({ type }: { type: string }): Inputs {
  if (type === TYPES.key) {
    const key = "-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n";
    return {
      privateKeyOpenssh: secret(key),
      privateKeyPem: secret(key),
      publicKeyOpenssh: "ssh-ed25519 AAAA\n",
      publicKeyPem: "PEM\n",
    };
  }
  if (/^tls:.*Cert$/.test(type)) return { certPem: "CERTIFICATE" };
  if (type.endsWith(":RandomPassword")) return { result: secret("0123456789abcdef".repeat(4)) };
  if (type === TYPES.droplet) return { ipv4Address: "192.0.2.1", dropletUrn: "do:droplet:1" };
  if (type === TYPES.volume) return { volumeUrn: "do:volume:1" };
  if (type.endsWith(":SpacesKey")) return { accessKey: "DO00", secretKey: secret("key") };
  if (type.endsWith(":SpacesBucket")) return { endpoint: "nyc3.digitaloceanspaces.com" };
  if (type === TYPES.cluster) {
    return { privateHost: "private-db", port: 25_060, user: "doadmin", database: "defaultdb", password: secret("pw") };
  }
  if (type === TYPES.command) return { stdout: `convex-self-hosted|01${"0".repeat(72)}` };
  return {};
}

/** A stack for production, with everything that the rules look at. */
const PRODUCTION = {
  domain: "example.com",
  adminCidrs: ["203.0.113.0/24", "10.0.0.0/8"],
  backups: "spaces",
  dashboardAccess: "password",
  databases: { chat: { connections: 5 } },
  functionEnvironment: { AUTH_SECRET: "hush" },
  generatedSecrets: { auth: {} },
  apps: {
    web: {
      image: `web@sha256:${"1".repeat(64)}`,
      port: 3000,
      hosts: ["app.example.com"],
      variables: { NEXT_PUBLIC_TOKEN: "public" },
    },
  },
};

let pack: Pack;
let whole: Resource[];

beforeAll(async () => {
  [pack, whole] = await Promise.all([Pack.start(), resourcesOf(PRODUCTION)]);
}, 60_000);

afterAll(() => pack.end());

/** The violations after a change of one resource. */
function after(change: (resource: Resource) => void, name: string, stack = "prod"): Promise<string[]> {
  const changed = structuredClone(whole);
  const found = changed.find((resource) => resource.name === name && !resource.type.startsWith("convex-droplet:"));
  if (found === undefined) throw new Error(`no resource ${name} was registered`);
  change(found);
  return pack.check(stack, changed, [found]);
}

const input = (key: string, value: unknown) => (resource: Resource) => {
  expect(resource.inputs).toHaveProperty(key);
  resource.inputs[key] = value;
};
const inbound = (portRange: string, ...sourceAddresses: string[]) =>
  input("inboundRules", [{ protocol: "tcp", portRange, sourceAddresses }]);

describe("the policy pack", () => {
  it("has nothing against what the program makes", async () => {
    expect(whole.length).toBeGreaterThan(50);
    expect(await pack.check("prod", whole)).toEqual([]);
    const managed = await resourcesOf({ database: "managed", fileStorage: "spaces", adminCidrs: ["203.0.113.0/24"] });
    expect(managed.map(({ type }) => type)).toContain(TYPES.cluster);
    expect(await pack.check("prod", managed)).toEqual([]);
    expect(await pack.check("dev", await resourcesOf({ protectData: false, allowedCidrs: ["0.0.0.0/0"] }))).toEqual([]);
  });

  it.each<[string, string, (resource: Resource) => void, string]>([
    [
      "an open database port",
      RESOURCES.httpsFirewall,
      inbound("443-6000", "198.51.100.0/24"),
      "mandatory no-public-database-port: convex-https-firewall: inboundRules[0] opens port 3306 (MySQL) to 198.51.100.0/24, it should be closed.",
    ],
    [
      "a published database port",
      RESOURCES.backend,
      input("ports", [{ internal: 5432 }]),
      "mandatory no-public-database-port: convex-backend: ports[0] publishes port 5432 (PostgreSQL) at 0.0.0.0,",
    ],
    [
      "a moving image",
      RESOURCES.backend,
      input("image", "ghcr.io/get-convex/convex-backend:latest"),
      "mandatory images-by-digest: convex-backend: image is ghcr.io/get-convex/convex-backend:latest, it should end with @sha256:",
    ],
    [
      "a container's variables that are no secret",
      RESOURCES.backend,
      input("envs", ["INSTANCE_SECRET=0123", "RUST_LOG=info"]),
      "mandatory no-secret-in-clear: convex-backend: envs[0] has a secret in clear, it should be marked as a secret.",
    ],
    [
      "a password that is no secret",
      RESOURCES.role,
      input("password", "0123"),
      "mandatory no-secret-in-clear: convex-role: password has a secret in clear,",
    ],
    [
      "a key in clear",
      RESOURCES.setup,
      input("stdin", "key\n-----BEGIN OPENSSH PRIVATE KEY-----\n"),
      "mandatory no-secret-in-clear: convex-setup: stdin has a private key in clear,",
    ],
    [
      "a secret on a command line",
      RESOURCES.setup,
      input("create", secret("echo 0123")),
      "mandatory no-secret-in-clear: convex-setup: create has a secret on a command line, it should have none. Pass it on stdin.",
    ],
  ])("refuses %s in every stack", async (_what, name, change, message) => {
    for (const stack of ["prod", "dev"]) {
      const found = await after(change, name, stack);
      expect(found.filter((line) => line.startsWith(message.split(":")[0] ?? ""))).toEqual([
        expect.stringContaining(message),
      ]);
    }
  });

  it.each<[string, string, (resource: Resource) => void, string]>([
    [
      "SSH for everybody",
      RESOURCES.firewall,
      inbound("22", "203.0.113.0/24", "0.0.0.0/1", "::/0"),
      "advisory no-open-ssh-in-production: convex-firewall: inboundRules[0] opens port 22 to 0.0.0.0/1, ::/0, it should be open to the networks " +
        "that deploy. Set them in place of this example: npx pulumi config set --stack STACK --path 'adminCidrs[0]' 203.0.113.0/24",
    ],
    [
      "a port without TLS",
      RESOURCES.httpsFirewall,
      inbound("3210", "10.0.0.0/8", "10.0.0.0/7"),
      "mandatory tls-in-production: convex-https-firewall: inboundRules[0] opens port 3210 to 10.0.0.0/7 without TLS, it should open only port 443. " +
        "Serve under a domain: npx pulumi config set --stack STACK domain example.com; " +
        "or close the ports: npx pulumi config rm --stack STACK allowedCidrs",
    ],
    [
      "a connection to PostgreSQL without TLS",
      RESOURCES.backend,
      input("envs", secret(["DO_NOT_REQUIRE_SSL=true"])),
      "mandatory tls-in-production: convex-backend: envs has DO_NOT_REQUIRE_SSL, it should not:",
    ],
    [
      "tools' connection to PostgreSQL without TLS",
      RESOURCES.postgresql,
      input("host", "db.example.com"),
      "mandatory tls-in-production: convex-provider: sslmode is disable for db.example.com, it should be verify-full.",
    ],
    [
      "a volume that can be deleted",
      RESOURCES.volume,
      (volume) => (volume.protect = false),
      "mandatory data-protected-in-production: convex-volume: protect is false, it should be true. " +
        "Set it with: npx pulumi config set --stack STACK protectData true; " +
        "or, if you want to delete the data, run Pulumi without this policy pack: npx pulumi up --stack STACK",
    ],
    [
      "no backups",
      RESOURCES.backupPassphrase,
      (passphrase) => (passphrase.name = "other"),
      "mandatory backups-on-in-production: convex-volume: nothing backs it up, it should have backups in a bucket. " +
        "Switch them on with: npx pulumi config set --stack STACK backups spaces",
    ],
  ])("refuses %s in production only", async (_what, name, change, message) => {
    for (const stack of ["prod", "eu-production"]) {
      expect(await after(change, name, stack)).toEqual([expect.stringContaining(message.replaceAll("STACK", stack))]);
    }
    for (const stack of ["dev", "product"]) expect(await after(change, name, stack)).toEqual([]);
  });

  it("refuses a managed database that admits addresses, or everybody", async () => {
    const managed = await resourcesOf({ database: "managed" });
    const firewall = managed.find(({ name }) => name === RESOURCES.clusterFirewall);
    if (firewall === undefined) throw new Error("no firewall was registered");
    firewall.inputs["rules"] = [{ type: "ip_addr", value: "203.0.113.9" }];
    expect(await pack.check("dev", managed)).toEqual([
      expect.stringContaining("no-public-database-port: convex-cluster-firewall: rules[0] admits 203.0.113.9,"),
    ]);
    expect(
      await pack.check(
        "dev",
        managed.filter((resource) => resource !== firewall),
      ),
    ).toEqual([expect.stringContaining("managed-database-has-firewall: convex-cluster: has no DatabaseFirewall,")]);
  });

  it("lets a volume go while another one takes its place", async () => {
    const adopting = await Pack.start({
      "convex-droplet:adoptVolume": "other",
      "convex-droplet:moveDatabase": "false",
    });
    const unprotected = whole.map((resource) => ({ ...resource, protect: false }));
    const found = await adopting.check("prod", unprotected);
    await adopting.end();
    expect(found.map((line) => line.split(":")[1]?.trim())).toEqual(["convex-bucket"]);
  });

  it("waits for what a preview does not know", async () => {
    const { unknownValue } = pulumi.runtime;
    for (const [name, key] of [
      [RESOURCES.backend, "image"],
      [RESOURCES.backend, "envs"],
      [RESOURCES.role, "password"],
      [RESOURCES.httpsFirewall, "inboundRules"],
    ] as const) {
      expect(await after(input(key, unknownValue), name)).toEqual([]);
    }
    expect(await after(inbound(unknownValue, "0.0.0.0/0"), RESOURCES.httpsFirewall)).toEqual([]);
  });
});
