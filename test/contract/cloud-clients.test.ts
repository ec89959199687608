import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";
import sshpk from "sshpk";
import { expect, it, onTestFinished } from "vitest";

import { serveTestCloud, temporaryHome } from "./cloud-harness.ts";

const CLIENTS = path.join(import.meta.dirname, "clients");

/** The environment for a client's program, with a cloud for the test. */
async function cloudEnvironment() {
  const home = await temporaryHome();
  const cloud = await serveTestCloud(home);
  onTestFinished(async () => {
    await cloud[Symbol.asyncDispose]();
    await home[Symbol.asyncDispose]();
  });
  const publicKey = sshpk.generatePrivateKey("ed25519").toPublic().toString("ssh");
  return { API_URL: cloud.url, TOKEN: cloud.token, PUBLIC_KEY: publicKey };
}

it("serves DigitalOcean's Python client, pydo", { timeout: 300_000 }, async () => {
  const environment = await mkdtemp(path.join(tmpdir(), "pydo-"));
  onTestFinished(() => rm(environment, { recursive: true, force: true }));
  await execa("python3", ["-m", "venv", environment]);
  const bin = path.join(environment, "bin");
  const folder = path.join(CLIENTS, "pydo");
  const requirements = path.join(folder, "requirements.txt");
  await execa(path.join(bin, "pip"), ["install", "--quiet", "--no-compile", "--requirement", requirements]);

  const env = await cloudEnvironment();
  const { stdout } = await execa(path.join(bin, "python"), [path.join(folder, "life.py")], { env });
  expect(JSON.parse(stdout)).toEqual({
    account: "active",
    size: 4096,
    region: ["Frankfurt 1"],
    image: "Debian",
    droplet: { name: "pydo", status: "active", locked: false, size_slug: "s-2vcpu-4gb", tags: ["pydo"] },
    attached: { action: ["completed", "attach_volume"], on: true },
    delete_attached: { status: 409, message: "failed to delete volume: attached volume cannot be deleted" },
    resized: 20,
    detached: "detach_volume",
    off: "off",
    off_again: { status: 422, message: "Droplet is already powered off" },
    firewall_ports: ["22", "0"],
    records: [["host.example.org", 60]],
    reserved: { action: "assign_ip", droplet: true },
    spaces_key: [43, [true]],
    database: [["droplet"], "app", { status: 422, message: "invalid node count" }],
    assigned: "assigned",
    project_with_resources: { returned: "precondition_failed", message: "cannot delete a project with resources" },
    tagged: 1,
    tags: [true, ["pydo-a", "pydo-b", "pydo-c", "pydo-d"]],
    errors: {
      token: { status: 401, message: "Unable to authenticate you." },
      missing: { returned: "not_found", message: "The resource you requested could not be found." },
      region: { status: 422, message: "You specified an invalid region for Droplet creation." },
      key: { status: 422, message: "SSH Key is already in use on your account" },
    },
    left: { droplets: 0, volumes: 0, keys: 0, tags: 0 },
  });
});

it("serves DigitalOcean's Go client, godo", { timeout: 600_000 }, async () => {
  const env = await cloudEnvironment();
  const { stdout } = await execa("go", ["run", "-mod=readonly", "."], { cwd: path.join(CLIENTS, "godo"), env });
  expect(JSON.parse(stdout)).toEqual({
    account: "active",
    rate: 1_000_000,
    created: ["new", "create completed"],
    droplet: {
      status: "active",
      locked: false,
      memory: 4096,
      region: "fra1",
      image: "debian-13-x64",
      loopback: true,
      volume: true,
    },
    delete_attached: "409 failed to delete volume: attached volume cannot be deleted",
    detached: "detach_volume completed",
    detach_again: "422 Attachment not found",
    attached: "attach_volume completed",
    volume: 20,
    resized: ["s-4vcpu-8gb", 160, "active"],
    firewall: ["0", [], ["godo"]],
    duplicate_firewall: "409 duplicate name",
    records: [1, "host.example.org", 60],
    host_left_out: "422 Data needs to end with a dot (.)",
    assigned: "assign_ip completed",
    reserved: [true, false, true],
    unassigned: "unassign_ip completed",
    unassign_again: "422 The reserved IP is not assigned to a Droplet.",
    database: [2, 25060, 1, "normal", "422 droplet 1 not found", true],
    spaces_key: [43, "", "files", "400 fullaccess cannot be mixed with scoped permissions"],
    tag: [2, 1, 1],
    project: ["Production", 2],
    pages: ["a", "b", "c", "d", "e"],
    wrong_token: "401 Unable to authenticate you.",
    missing: 404,
    not_simulated: 501,
    retried: "active",
  });
});
