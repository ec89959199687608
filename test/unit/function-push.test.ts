import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import net, { type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";

import * as pulumi from "@pulumi/pulumi";
import { Server, utils } from "ssh2";
import { beforeEach, expect, it, onTestFinished, vi } from "vitest";

import { pushFunctions } from "../../functions/push.ts";
import { configure, mockEngine } from "./program.ts";

const KEY = "swarm|01ab";
const [ownKey, hostKey, otherKey] = [1, 2, 3].map(() => utils.generateKeyPairSync("ed25519"));

let folder: string;
let told: string[];

beforeEach(async () => {
  configure();
  await mockEngine();
  told = [];
  vi.spyOn(pulumi.log, "info").mockImplementation((line) => {
    told.push(line);
    return Promise.resolve();
  });
  folder = mkdtempSync(path.join(tmpdir(), "function-push-"));
  onTestFinished(() => {
    vi.restoreAllMocks();
    rmSync(folder, { recursive: true });
  });
});

async function listening(server: net.Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** A machine with a backend of the instance `swarm`, which accepts the key. Returns what a push to it needs. */
async function machine() {
  const apiPort = await listening(
    http.createServer((request, response) => {
      if (request.url === "/instance_name") {
        response.end("swarm");
        return;
      }
      response.statusCode = request.headers.authorization === `Convex ${KEY}` ? 200 : 401;
      response.end();
    }),
  );
  const ssh = new Server({ hostKeys: [hostKey?.private ?? ""] }, (client) => {
    client.on("error", () => undefined);
    client.on("authentication", (attempt) => {
      attempt.accept();
    });
    client.on("tcpip", (accept, _reject, { destIP, destPort }) => {
      const far = accept();
      const near = net.connect(destPort, destIP);
      far.on("error", () => near.destroy());
      near.on("error", () => {
        far.end();
      });
      near.pipe(far).pipe(near);
    });
  });
  await new Promise<void>((resolve) => {
    ssh.listen(0, "127.0.0.1", resolve);
  });
  onTestFinished(() => {
    ssh.close();
  });
  const { port } = ssh.address() as AddressInfo;
  const target = { host: "127.0.0.1", port, privateKey: ownKey?.private ?? "", hostKey: hostKey?.public ?? "" };
  return { target, apiPort, instanceName: "swarm", adminKey: KEY };
}

/** A package whose CLI runs this code. It notes that it ran, with its arguments, folder and target. */
function packageWith(code: string): { folder: string; cli: string } {
  const cli = path.join(folder, "main.cjs");
  const note =
    'require("fs").writeFileSync("ran.json", JSON.stringify({ words: process.argv.slice(2), folder: process.cwd() }));\n' +
    "const url = process.env.CONVEX_SELF_HOSTED_URL, key = process.env.CONVEX_SELF_HOSTED_ADMIN_KEY;\n";
  writeFileSync(cli, note + code);
  return { folder, cli };
}

const ran = () => JSON.parse(readFileSync(path.join(folder, "ran.json"), "utf8")) as unknown;

it("functions go through SSH to the backend on the machine, and the log of the run shows the CLI's lines without the key", async () => {
  const app = packageWith(
    "fetch(url + '/instance_name').then((answer) => answer.text()).then((name) => console.log(`Deployed to ${name} at ${url} with ${key}`));",
  );
  await pushFunctions(app, await machine());
  expect(told).toEqual(["Deployed to swarm at the backend with [the admin key]"]);
  expect(ran()).toEqual({ words: ["deploy"], folder });
});

it("a CLI that fails ends the run, after its reason", async () => {
  const app = packageWith('console.error("Could not resolve words.js\\n"); process.exitCode = 3;');
  await expect(pushFunctions(app, await machine())).rejects.toThrow(
    `convex-droplet:functionPackage: the Convex CLI could not deploy ${folder} (exit code 3), its reason is above. ` +
      "The functions of the deployment stay as they were. Fix it, and run: npx pulumi up --stack test",
  );
  expect(told).toEqual(["Could not resolve words.js"]);
});

it("the CLI does not run if another machine answers, or another instance", async () => {
  const app = packageWith("");
  const backend = await machine();
  const stranger = { ...backend, target: { ...backend.target, hostKey: otherKey?.public ?? "" } };
  await expect(pushFunctions(app, stranger)).rejects.toThrow("answers with another host key than this stack's");
  await expect(pushFunctions(app, { ...backend, instanceName: "other" })).rejects.toThrow(
    'the backend: is instance "swarm", it should be other, so no functions were deployed.',
  );
  await expect(pushFunctions(app, { ...backend, adminKey: "swarm|02" })).rejects.toThrow(
    "refuses the stack's admin key (401)",
  );
  expect(ran).toThrow("ENOENT");
});

it("the CLI does not run if nothing answers at the backend's port", async () => {
  const app = packageWith("");
  await expect(pushFunctions(app, { ...(await machine()), apiPort: 1 })).rejects.toThrow(
    "the backend: does not answer on the droplet, so no functions were deployed.",
  );
  expect(ran).toThrow("ENOENT");
});
