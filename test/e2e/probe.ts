import net from "node:net";

import { expect } from "vitest";

import { eventually, type TestCloud } from "./harness.ts";

const FORMAT = { format: "json" };

/**
 * Checks a deployed stack from outside and from inside the droplet, with its outputs and none of the program's code.
 *
 * @param mark  written as a row and as a file, so that a later probe can check that it is still there
 * @param ports  those that should be open to this computer
 */
export async function probe(cloud: TestCloud, stack: string, mark: string, ports = [22, 3210, 3211]): Promise<void> {
  const { backendUrl = "", siteUrl = "", adminKey = "", instanceName, publicIp = "" } = await cloud.outputs(stack);

  await eventually("the backend to answer", 90, async () => {
    expect((await fetch(`${backendUrl}/version`, { signal: AbortSignal.timeout(3000) })).status).toBe(200);
  });
  expect(await text(`${backendUrl}/instance_name`)).toBe(instanceName);
  expect(await text(`${siteUrl}/`)).toBe("This Convex deployment does not have HTTP actions enabled.");
  expect((await fetch(`${backendUrl}/metrics`)).status).toBe(404);

  const check = (key: string) =>
    fetch(`${backendUrl}/api/check_admin_key`, { headers: { authorization: `Convex ${key}` } });
  expect((await check(adminKey)).status).toBe(200);
  expect((await check(damagedKey(adminKey))).status).toBe(401);
  expect((await check(`${instanceName ?? ""}|${"0".repeat(74)}`)).status).toBe(401);

  await writeRow(backendUrl, mark, mark);
  expect(await readRow(backendUrl, mark)).toBe(mark);
  const storageId = await writeFile(backendUrl, `content of ${mark}`);
  expect(await readFile(backendUrl, storageId)).toBe(`content of ${mark}`);

  await probeInside(cloud, stack);
  expect(await openPorts(publicIp)).toEqual(ports);
}

/** A key that the backend refuses: another last digit, because a fixed one would sometimes be the key's own. */
export function damagedKey(key: string): string {
  return `${key.slice(0, -1)}${key.endsWith("0") ? "1" : "0"}`;
}

export async function writeRow(backendUrl: string, key: string, value: string): Promise<void> {
  await call(backendUrl, "mutation", "sandbox:put", { key, value });
}

export async function readRow(backendUrl: string, key: string): Promise<unknown> {
  return ((await call(backendUrl, "query", "sandbox:get", { key })) as { value: unknown } | null)?.value;
}

/** Stores a file and returns its id. */
export async function writeFile(backendUrl: string, content: string): Promise<string> {
  const uploadUrl = (await call(backendUrl, "mutation", "sandbox:generateUploadUrl", {})) as string;
  const response = await fetch(uploadUrl, { method: "POST", headers: { "content-type": "text/plain" }, body: content });
  expect(response.status).toBe(200);
  return ((await response.json()) as { storageId: string }).storageId;
}

export async function readFile(backendUrl: string, storageId: string): Promise<string> {
  return text((await call(backendUrl, "query", "sandbox:fileUrl", { storageId })) as string);
}

/** Checks inside the droplet: where the data is, who can connect, and that all services run. */
async function probeInside(cloud: TestCloud, stack: string): Promise<void> {
  const inside = async (command: string) => {
    const { all, exitCode } = await cloud.onDroplet(stack, command);
    return { answer: all.trim(), exitCode };
  };
  const answer = async (command: string) => (await inside(command)).answer;
  const device = await answer("readlink -f /dev/disk/by-id/scsi-0DO_Volume_*-data");

  const data = await answer("runuser -u postgres -- psql -Atc 'SHOW data_directory'");
  expect(await answer(`findmnt -no SOURCE -T ${data}`)).toBe(device);
  const files = await answer(
    `docker inspect convex-backend --format '{{range .Mounts}}{{if eq .Destination "/convex/data"}}{{.Source}}{{end}}{{end}}'`,
  );
  expect(await answer(`findmnt -no SOURCE -T ${files}`)).toBe(device);
  expect(await answer(`ls -d ${files}/storage ${files}/credentials`)).toBe(`${files}/credentials\n${files}/storage`);
  expect(await answer("readlink /opt/convex")).toBe("/mnt/convex");

  const tables = await answer(
    `runuser -u postgres -- psql -Atd convex_self_hosted -c "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"`,
  );
  expect(tables.split("\n")).toEqual(["documents", "indexes", "leases", "persistence_globals", "read_only"]);
  const owner = `SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'convex_self_hosted'`;
  expect(await answer(`runuser -u postgres -- psql -Atc "${owner}"`)).toBe("convex");

  // A wrong password, role or database from the backend's network; then the right ones from another network.
  const inNetwork = "nsenter --net --target $(docker inspect --format '{{.State.Pid}}' convex-backend)";
  const connect = (parameters: string, from = inNetwork) =>
    answer(`${from} psql 'connect_timeout=5 ${parameters}' -c 'SELECT 1'`);
  const refused = "no pg_hba.conf entry";
  expect(await connect("host=172.30.0.1 user=convex dbname=convex_self_hosted password=wrong")).toContain(
    "password authentication failed",
  );
  expect(await connect("host=172.30.0.1 user=postgres dbname=convex_self_hosted")).toContain(refused);
  expect(await connect("host=172.30.0.1 user=convex dbname=postgres")).toContain(refused);
  expect(await connect("host=127.0.0.1 user=convex dbname=convex_self_hosted", "")).toContain(refused);
  expect(await answer("ss -Hltn 'sport = :5432' | awk '{print $4}' | sort")).toBe("127.0.0.1:5432\n172.30.0.1:5432");

  expect(await answer("curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:6791/")).toBe("200");
  const metadata = "curl -s --max-time 5 http://169.254.169.254/metadata/v1/user-data";
  expect(await answer(metadata)).toContain("#cloud-config");
  expect((await inside(`runuser -u nobody -- ${metadata}`)).exitCode).not.toBe(0);
  expect((await inside(`docker exec convex-backend ${metadata}`)).exitCode).not.toBe(0);
}

/** Calls a function, and returns its value. */
export async function call(backendUrl: string, kind: string, path: string, args: object): Promise<unknown> {
  const response = await fetch(`${backendUrl}/api/${kind}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ path, args, ...FORMAT }),
  });
  const body = (await response.json()) as { status: string; value: unknown };
  expect(body).toMatchObject({ status: "success" });
  return body.value;
}

async function text(url: string): Promise<string> {
  return (await fetch(url)).text();
}

/** The TCP ports that a service here could use. */
const USUAL = [...range(1, 1024), 2375, 3000, 3210, 3211, 5432, 6791, 8080, 33060];

export const ALL_PORTS = range(1, 65535);

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

/** A thousand sockets take this process about 0.1 s, much less than it waits for their answers. */
const AT_ONCE = 2048;

/** The open ones among some TCP ports of an address. All ports take about 40 seconds, because closed ones do not answer. */
export async function openPorts(host: string, wanted = USUAL): Promise<number[]> {
  const open: number[] = [];
  for (let start = 0; start < wanted.length; start += AT_ONCE) {
    const some = wanted.slice(start, start + AT_ONCE);
    const answered = await Promise.all(some.map((port) => answers(host, port)));
    open.push(...some.filter((_, index) => answered[index]));
  }
  return open;
}

function answers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port, timeout: 1000 });
    const end = (isOpen: boolean) => {
      socket.destroy();
      resolve(isOpen);
    };
    socket.once("connect", () => {
      end(true);
    });
    socket.once("timeout", () => {
      end(false);
    });
    socket.once("error", () => {
      end(false);
    });
  });
}
