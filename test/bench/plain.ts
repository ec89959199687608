import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";

import { eventually, ssh, type TestCloud } from "../e2e/harness.ts";

const SCRIPT = path.join(import.meta.dirname, "plain.sh");
const NAME = "bench-plain";

/** The settings for the comparison: the same droplet and volume as the stack's. */
export interface Equal {
  region: string;
  size: string;
  image: string;
  backendImage: string;
  dashboardImage: string;
}

/** Runs `plain.sh` on a fresh droplet that has booted. @returns the seconds from its first command to a backend that serves */
export async function runPlainScript(cloud: TestCloud, equal: Equal): Promise<number> {
  const folder = await mkdtemp(path.join(tmpdir(), "convex-droplet-bench-"));
  await using made = new AsyncDisposableStack();
  made.defer(() => rm(folder, { recursive: true }));

  const keyFile = path.join(folder, "key");
  await execa("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", keyFile]);
  const { ssh_key } = await post<{ ssh_key: { id: number } }>(cloud, "/v2/account/keys", {
    name: NAME,
    public_key: await readFile(`${keyFile}.pub`, "utf8"),
  });
  made.defer(() => remove(cloud, `/v2/account/keys/${ssh_key.id}`));
  const { volume } = await post<{ volume: { id: string } }>(cloud, "/v2/volumes", {
    name: NAME,
    region: equal.region,
    size_gigabytes: 100,
  });
  made.defer(() => remove(cloud, `/v2/volumes/${volume.id}`));
  const { droplet } = await post<{ droplet: { id: number } }>(cloud, "/v2/droplets", {
    name: NAME,
    region: equal.region,
    size: equal.size,
    image: equal.image,
    ssh_keys: [ssh_key.id],
    volumes: [volume.id],
  });
  made.defer(() => removeDroplet(cloud, droplet.id));

  const host = await eventually("the plain droplet to get an address", 60, () => publicAddress(cloud, droplet.id));
  const target = await eventually("the plain droplet to answer SSH", 120, async () => {
    const { stdout } = await execa("ssh-keyscan", ["-t", "ed25519", host]);
    const hostKey = stdout.split(" ").slice(1, 3).join(" ");
    const login = { host, key: await readFile(keyFile, "utf8"), hostKey };
    if ((await ssh(login, "true")).exitCode !== 0) throw new Error("refused");
    return login;
  });
  const started = performance.now();
  const words = [NAME, equal.backendImage, equal.dashboardImage];
  const { exitCode, all } = await ssh(target, `bash -s ${words.join(" ")}`, await readFile(SCRIPT, "utf8"));
  if (exitCode !== 0) throw new Error(`plain.sh: failed.\n${all}`);
  return (performance.now() - started) / 1000;
}

async function publicAddress(cloud: TestCloud, id: number): Promise<string> {
  const { droplet } = (await (await cloud.cloud("GET", `/v2/droplets/${id}`)).json()) as {
    droplet: { status: string; networks: { v4: { type: string; ip_address: string }[] } };
  };
  const address = droplet.networks.v4.find(({ type }) => type === "public")?.ip_address;
  if (droplet.status !== "active" || address === undefined) throw new Error(`is ${droplet.status}`);
  return address;
}

async function post<T>(cloud: TestCloud, route: string, body: object): Promise<T> {
  const response = await cloud.cloud("POST", route, body);
  if (!response.ok) throw new Error(`${route}: ${await response.text()}`);
  return (await response.json()) as T;
}

/** Waits until the droplet is deleted, because its volume can be deleted only after that. */
async function removeDroplet(cloud: TestCloud, id: number): Promise<void> {
  await remove(cloud, `/v2/droplets/${id}`);
  await eventually("the plain droplet to be gone", 60, async () => {
    if ((await cloud.cloud("GET", `/v2/droplets/${id}`)).status !== 404) throw new Error("is still there");
  });
}

async function remove(cloud: TestCloud, route: string): Promise<void> {
  const response = await cloud.cloud("DELETE", route);
  if (!response.ok) throw new Error(`${route}: ${await response.text()}`);
}
