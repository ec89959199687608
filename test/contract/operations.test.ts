import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";

import type { DropletSpec } from "../../sandbox/droplet/hypervisor.ts";
import { layOutPulumiHome, pulumiEnvironment } from "../../sandbox/engine/pulumi-home.ts";
import { type Lab, openLab } from "./droplet-harness.ts";
import { freePort } from "../free-port.ts";

const CLI = path.resolve("operations/cli.ts");

let lab: Lab;
let droplet: DropletSpec;
/** A project's folder with the state of real stacks, and a folder for the commands' temporary files. */
let folder: string;
let env: Record<string, string | undefined>;
/** Ports on the droplet's loopback: dashboard, API, HTTP actions. */
let ports: [number, number, number];

beforeAll(async () => {
  lab = await openLab();
  droplet = lab.spec(1);
  await lab.room.createDroplet(droplet);
  await lab.booted(droplet);
  ports = [await freePort(), await freePort(), await freePort()];
  for (const port of ports) {
    await lab.ssh(
      droplet,
      `mkdir /srv/${port} && echo ${port} > /srv/${port}/index.html &&
        systemd-run --quiet python3 -m http.server --bind 127.0.0.1 --directory /srv/${port} ${port}`,
    );
  }

  folder = await mkdtemp(path.join(tmpdir(), "operations-"));
  await mkdir(path.join(folder, "tmp"));
  await writeFile(path.join(folder, "Pulumi.yaml"), "name: convex-droplet\nruntime: nodejs\n");
  await layOutPulumiHome(lab.home, () => undefined);
  env = { ...pulumiEnvironment(lab.home), TMPDIR: path.join(folder, "tmp") };
  const url = (port: number) => `http://127.0.0.1:${port}`;
  const outputs = {
    dashboardUrl: url(ports[0]),
    backendUrl: url(ports[1]),
    siteUrl: url(ports[2]),
    adminKey: "convex-self-hosted|01",
    dashboardPassword: "",
  };
  await makeStack("dev", outputs, lab.keys.hostKey);
  const elsewhere = { backendUrl: "https://api.example.com", siteUrl: "https://site.example.com:8443" };
  await makeStack("named", { ...outputs, ...elsewhere }, lab.keys.hostKey);
  const dashboard = { dashboardUrl: "https://dash.example.com", dashboardPassword: "never-printed" };
  await makeStack("public", { ...outputs, ...elsewhere, ...dashboard }, lab.keys.hostKey);
  // Nothing listens at these addresses here, so only the droplet's loopback can answer.
  const reserved = Object.fromEntries(
    Object.entries(outputs).map(([name, value]) => [name, value.replace("127.0.0.1", "192.0.2.7")]),
  );
  await makeStack("reserved", { ...reserved, publicIp: "192.0.2.7" }, lab.keys.hostKey);
  const impostor = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDDe5gkYXmwrvhDsOkmiVNyo8xGuMBVzEF8UlLZQPFWA";
  await makeStack("impostor", outputs, impostor);
  await makeStack("half", {}, lab.keys.hostKey);
  await makeStack("empty", {});
}, 300_000);

afterAll(async () => {
  await rm(folder, { recursive: true });
  await lab[Symbol.asyncDispose]();
});

beforeEach(async () => {
  expect(await readdir(path.join(folder, "tmp"))).toEqual([]);
});

/** Creates a stack with the parts of a deployment's state that these commands read. */
async function makeStack(name: string, outputs: Record<string, string>, hostKey?: string): Promise<void> {
  const time = new Date().toISOString();
  const made = (type: string, logical: string, id: string, properties: object) => ({
    urn: `urn:pulumi:${name}::convex-droplet::${type}::${logical}`,
    custom: id !== "",
    type,
    outputs: properties,
    created: time,
    modified: time,
    ...(id === "" ? {} : { id }),
  });
  const key = "tls:index/privateKey:PrivateKey";
  const resources = [
    made("pulumi:pulumi:Stack", `convex-droplet-${name}`, "", outputs),
    ...(hostKey === undefined
      ? []
      : [
          made(key, "convex-deploy-key", "1", { privateKeyOpenssh: lab.keys.privateKey }),
          made(key, "convex-host-key", "2", { publicKeyOpenssh: `${hostKey}\n` }),
          made("digitalocean:index/droplet:Droplet", "convex-droplet", "3", { ipv4Address: droplet.publicAddress }),
        ]),
  ];
  const manifest = { time, magic: "", version: "" };
  const input = JSON.stringify({ version: 3, deployment: { manifest, resources } });
  await execa("pulumi", ["stack", "init", name], { cwd: folder, env });
  await execa("pulumi", ["stack", "import", "--stack", name], { cwd: folder, env, input });
}

const start = (...args: string[]) =>
  execa("node", [CLI, ...args], { cwd: folder, env, reject: false, stdin: "ignore" });

/** The answer of a local port. */
const answers = (port: number) => fetch(`http://127.0.0.1:${port}`).then((response) => response.text());

describe("without a stack to work on", () => {
  it.each([
    [
      ["ssh", "--stack", "nowhere"],
      "error: stack nowhere: its state cannot be read. error: no stack named 'nowhere' found",
    ],
    [
      ["ssh", "--stack", "empty"],
      "error: stack empty: has no convex-droplet, it should be deployed. Deploy it with: npx pulumi up --stack empty",
    ],
    [
      ["tunnel", "--stack", "half"],
      "error: stack half: has no backendUrl, siteUrl, dashboardUrl, adminKey, it should be deployed. Deploy it with: npx pulumi up --stack half",
    ],
  ])("%j: %s", async (words, message) => {
    const { exitCode, stderr } = await start(...words);
    expect(stderr.split("\n")[0]).toContain(message);
    expect(exitCode).toBe(1);
  });
});

describe("ssh", () => {
  it.each([
    ["passes on the command's output and exit code", ["echo said; echo told >&2; exit 7"], "said", "told", 7],
    ["joins words as ssh does", ["printf", "'%s,'", "'a  b'", "c"], "a  b,c,", "", 0],
    ["leaves options to the command", ["echo", "--help", "--stack", "other", "-s"], "--help --stack other -s", "", 0],
    ["accepts the command after --", ["--", "echo", "$HOME"], "/root", "", 0],
  ])("%s", async (_, command, stdout, stderr, exitCode) => {
    expect(await start("ssh", "--stack", "dev", ...command)).toMatchObject({ stdout, stderr, exitCode });
    expect(await start("ssh", "--stack=dev", ...command)).toMatchObject({ stdout, stderr, exitCode });
    expect(await start("ssh", "-sdev", ...command)).toMatchObject({ stdout, stderr, exitCode });
  });

  it("connects to the droplet of a stack whose first up failed half-way", async () => {
    expect(await start("ssh", "--stack", "half", "echo in")).toMatchObject({ stdout: "in", exitCode: 0 });
  });

  it("refuses a machine with another host key", async () => {
    const { exitCode, stdout, stderr } = await start("ssh", "--stack", "impostor", "echo in");
    expect(stderr).toContain("Host key verification failed.");
    expect(stdout).toBe("");
    expect(exitCode).toBe(255);
  });

  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const)("ends at %s, and removes its key", async (signal, exitCode) => {
    const process = start("ssh", "--stack", "dev", `echo $$; exec sleep 1000`);
    await vi.waitFor(
      async () => {
        expect(await lab.ssh(droplet, "pgrep --full --exact 'sleep 1000'")).toMatch(/^\d+$/);
      },
      { timeout: 20_000 },
    );
    // Only this user can read the key.
    expect(
      (await execa("find", [path.join(folder, "tmp"), "-type", "f", "-name", "key", "-printf", "%m"])).stdout,
    ).toBe("600");
    process.kill(signal);
    expect((await process).exitCode).toBe(exitCode);
    expect(await readdir(path.join(folder, "tmp"))).toEqual([]);
    await lab.ssh(droplet, "pkill --full --exact 'sleep 1000' || true");
  });
});

describe("env", () => {
  let app: string;

  beforeEach(async () => {
    app = path.join(folder, "app");
    await mkdir(app);
    await writeFile(path.join(app, "package.json"), '{"dependencies":{"vite":"8.0.0"}}');
  });

  afterEach(() => rm(app, { recursive: true }));

  /** Runs the command with additional environment variables. */
  const write = (variables: Record<string, string>, ...args: string[]) =>
    execa("node", [CLI, "env", ...args], {
      cwd: folder,
      env: { ...env, INIT_CWD: undefined, GITHUB_ENV: undefined, ...variables },
      reject: false,
    });

  it("writes URLs and key under the framework's names, and changes nothing the second time", async () => {
    const file = path.join(app, ".env.local");
    const { exitCode, stdout, stderr } = await write({}, "--stack", "named", "--file", app);
    expect(await readFile(file, "utf8")).toBe(
      'CONVEX_SELF_HOSTED_URL=https://api.example.com\nCONVEX_SELF_HOSTED_ADMIN_KEY="convex-self-hosted|01"\n' +
        "VITE_CONVEX_URL=https://api.example.com\nVITE_CONVEX_SITE_URL=https://site.example.com:8443\n",
    );
    const hint = "VITE_CONVEX_URL and VITE_CONVEX_SITE_URL are compiled into the app: build it again when they change.";
    expect(stderr).toBe(
      `${file}: added CONVEX_SELF_HOSTED_URL, CONVEX_SELF_HOSTED_ADMIN_KEY, VITE_CONVEX_URL, VITE_CONVEX_SITE_URL\n${hint}`,
    );
    expect([exitCode, stdout]).toEqual([0, ""]);
    expect(await write({}, "--stack", "named", "--file", app)).toMatchObject({
      exitCode: 0,
      stdout: "",
      stderr: `${file}: unchanged\n${hint}`,
    });
  });

  it("replaces another stack's values, in the folder that npm was called from, with the given framework's names", async () => {
    const file = path.join(app, ".env.local");
    await writeFile(file, "CONVEX_SELF_HOSTED_URL=http://old\r\nA=1");
    const { stderr } = await write({ INIT_CWD: app }, "--framework", "plain", "-s", "dev");
    expect(stderr).toBe(
      `${file}: added CONVEX_SELF_HOSTED_ADMIN_KEY, CONVEX_URL, CONVEX_SITE_URL; changed CONVEX_SELF_HOSTED_URL; closed to other users\n` +
        "The URLs work while the tunnel is open: npm run tunnel -- --stack dev",
    );
    expect(await readFile(file, "utf8")).toMatch(
      /^CONVEX_SELF_HOSTED_URL=http:\/\/127\.0\.0\.1:\d+\r\nA=1\r\nCONVEX_SELF_HOSTED_ADMIN_KEY="[^\n]*\r\nCONVEX_URL=[^\n]*\r\nCONVEX_SITE_URL=[^\n]*$/,
    );
  });

  it("sets them for a GitHub Actions job, and prints the key only in the command that masks it", async () => {
    const target = path.join(app, "github");
    const { exitCode, stdout, stderr } = await write({ GITHUB_ENV: target }, "--stack", "named", "--ci", "github");
    expect(stdout).toBe("::add-mask::convex-self-hosted|01");
    expect(stderr).toContain("the job: added CONVEX_SELF_HOSTED_URL, CONVEX_SELF_HOSTED_ADMIN_KEY, ");
    expect(stderr).not.toContain("|01");
    expect(await readFile(target, "utf8")).toMatch(
      /^CONVEX_SELF_HOSTED_ADMIN_KEY<<(\S+)\nconvex-self-hosted\|01\n\1$/m,
    );
    expect(exitCode).toBe(0);
  });

  it.each([
    [
      ["--stack", "named", "--ci", "gitlab"],
      "error: env: --ci should be github, without --file.\nSee: npm run env -- --help",
    ],
    [
      ["--stack", "named", "--framework", "ember"],
      "error: --framework: ember is unknown, it should be one of cra, next,",
    ],
    [
      ["--stack", "named", "--ci", "github"],
      "error: GITHUB_ENV: is not set, --ci github should run in a step of GitHub Actions.",
    ],
  ])("%j: %s", async (words, message) => {
    const { exitCode, stderr } = await write({}, ...words);
    expect(stderr).toContain(message);
    expect(exitCode).toBe(1);
  });

  it.each([
    [
      "to write into this program's own folder",
      { INIT_CWD: path.resolve(".") },
      [],
      "error: env: this is not an app's folder. Name one: npm run env -- --stack named --file ../my-app",
    ],
    [
      "a job that deploys to Convex's cloud",
      { GITHUB_ENV: "/dev/null", CONVEX_DEPLOY_KEY: "prod:x|y" },
      ["--ci", "github"],
      "error: the environment: sets CONVEX_DEPLOY_KEY, it should not",
    ],
  ])("refuses %s", async (_, variables, words, message) => {
    const { exitCode, stdout, stderr } = await write(variables, "--stack", "named", ...words);
    expect(stderr).toContain(message);
    expect([exitCode, stdout]).toEqual([1, ""]);
  });
});

describe("tunnel", () => {
  it("forwards dashboard, API and HTTP actions until Ctrl-C, and then ends with 0", async () => {
    const process = start("tunnel", "--stack", "dev");
    await vi.waitFor(() => answers(ports[0]), { timeout: 20_000 });
    expect(await Promise.all(ports.map(answers))).toEqual(ports.map((port) => `${port}\n`));
    process.kill("SIGINT");
    const { exitCode, stderr } = await process;
    expect(stderr).toBe(
      `The dashboard is at http://127.0.0.1:${ports[0]}
  log in at http://127.0.0.1:${ports[1]}
  with the key of: npx pulumi stack output --stack dev adminKey --show-secrets
HTTP actions are at http://127.0.0.1:${ports[2]}
Ctrl-C closes the tunnel.`,
    );
    expect(exitCode).toBe(0);
    await expect(answers(ports[0])).rejects.toThrow("fetch failed");
  });

  it("says that URLs of another host are not forwarded, and does not open their ports", async () => {
    const process = start("tunnel", "--stack", "named");
    await vi.waitFor(() => answers(ports[0]), { timeout: 20_000 });
    await expect(answers(8443)).rejects.toThrow("fetch failed");
    process.kill("SIGINT");
    const { stderr } = await process;
    expect(stderr).toContain("log in at https://api.example.com (directly, not through this tunnel)\n");
    expect(stderr).toContain("HTTP actions are at https://site.example.com:8443 (directly, not through this tunnel)\n");
  });

  it("also forwards the ports of a reserved address", async () => {
    const process = start("tunnel", "--stack", "reserved");
    await vi.waitFor(() => answers(ports[0]), { timeout: 20_000 });
    expect(await Promise.all(ports.map(answers))).toEqual(ports.map((port) => `${port}\n`));
    process.kill("SIGINT");
    expect((await process).stderr).toContain(`The dashboard is at http://192.0.2.7:${ports[0]}\n`);
  });

  it("ends with 0 if everything is public, and names the command for the dashboard's password, but not the password", async () => {
    const { exitCode, stderr } = await start("tunnel", "--stack", "public");
    expect(stderr).toBe(
      `The dashboard is at https://dash.example.com (directly, not through this tunnel)
  as user convex, with the password of: npx pulumi stack output --stack public dashboardPassword --show-secrets
  log in at https://api.example.com (directly, not through this tunnel)
  with the key of: npx pulumi stack output --stack public adminKey --show-secrets
HTTP actions are at https://site.example.com:8443 (directly, not through this tunnel)
All of them are public, so no tunnel is needed.`,
    );
    expect(exitCode).toBe(0);
  });

  it("fails if a local port is in use", async () => {
    const first = start("tunnel", "--stack", "dev");
    await vi.waitFor(() => answers(ports[0]), { timeout: 20_000 });
    const { exitCode, stderr } = await start("tunnel", "--stack", "dev");
    expect(stderr).toContain(`127.0.0.1]:${ports[0]}: Address already in use`);
    expect(exitCode).toBe(255);
    first.kill("SIGTERM");
    expect((await first).exitCode).toBe(143);
  });
});
