import { once } from "node:events";
import { existsSync, lstatSync } from "node:fs";
import { chmod, chown, mkdir, mkdtemp, rm } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { buffer, text } from "node:stream/consumers";

import { execa } from "execa";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";

import { Boot } from "../../ssh/boot.ts";
import type { Target } from "../../ssh/connect.ts";
import { type FarEnd, openTunnel } from "../../ssh/tunnel.ts";
import { freePort } from "../free-port.ts";
import { Sshd } from "./plugin-sshd.ts";

let sshd: Sshd;
let folder: string;
let socket: string;
let port: number;
/** The service on the machine: sends everything back when the client has ended. */
let far: string;
let service: net.Server;
const told: string[] = [];

beforeAll(async () => {
  sshd = await Sshd.start();
  far = path.join(sshd.folder, "service.sock");
  service = net.createServer({ allowHalfOpen: true }, (client) => {
    client.on("error", () => undefined);
    void buffer(client).then((said) => client.end(said));
  });
  await once(service.listen(far), "listening");
});
afterAll(async () => {
  service.close();
  await sshd[Symbol.asyncDispose]();
});

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "tunnel-"));
  socket = path.join(folder, "near", "tunnel.sock");
  port = await freePort();
  told.length = 0;
});
afterEach(() => rm(folder, { recursive: true }));

const target = (changes: Partial<Target> = {}): Promise<Target> =>
  Promise.resolve({
    host: "127.0.0.1",
    port: sshd.port,
    privateKey: sshd.privateKey,
    hostKey: sshd.hostKey,
    ...changes,
  });

const open = (to: Promise<Target> = target(), boot?: Boot) =>
  openTunnel(
    to,
    [
      { from: { socket }, to: far },
      { from: { port }, to: far },
    ],
    (reason) => told.push(reason),
    boot,
  );

/** Sends a text, ends, and resolves to the whole answer. */
async function ask(near: string | number, question: string): Promise<string> {
  const client = typeof near === "string" ? net.connect(near) : net.connect(near, "127.0.0.1");
  client.end(question);
  return text(client);
}

describe("an open tunnel", () => {
  it("makes no connection until a client speaks, then one for all of them", async () => {
    const before = sshd.logins();
    await open();
    await once(net.connect(socket), "connect");
    expect(sshd.logins()).toBe(before);
    const questions = Array.from({ length: 8 }, (_, index) => `question ${index}`);
    expect(
      await Promise.all(questions.map((question, index) => ask(index % 2 === 0 ? socket : port, question))),
    ).toEqual(questions);
    expect(sshd.logins()).toBe(before + 1);
  });

  it("leads to another machine's server that the machine reaches, and asks where that is when a client speaks", async () => {
    const elsewhere = net.createServer({ allowHalfOpen: true }, (client) => {
      void text(client).then((said) => client.end(`heard ${said}`));
    });
    await once(elsewhere.listen(0, "127.0.0.1"), "listening");
    const at = (where: number) => ({ host: "127.0.0.1", port: where });
    const to = vi
      .fn<() => Promise<FarEnd>>()
      .mockResolvedValueOnce(at((elsewhere.address() as net.AddressInfo).port))
      .mockResolvedValueOnce(at(1));
    await openTunnel(target(), [{ from: { port }, to }], (reason) => told.push(reason));
    expect(to).not.toHaveBeenCalled();
    expect(await ask(port, "a question")).toBe("heard a question");
    elsewhere.close();
    expect(told).toEqual([]);
    expect(await ask(port, "another question")).toBe("");
    expect(told.join()).toContain("from the droplet: cannot be reached");
  });

  it("loses nothing of a long answer to a slow client", async () => {
    await open();
    const question = "0123456789".repeat(800_000);
    const client = net.connect(socket);
    client.end(question);
    await once(client, "readable");
    // Until the other side has closed; the rest is in buffers here.
    await vi.waitFor(() => {
      expect(client.readableLength).toBeGreaterThanOrEqual(client.readableHighWaterMark);
    });
    expect((await text(client)) === question).toBe(true);
  });

  it("connects again after its connection broke", async () => {
    await open();
    expect(await ask(socket, "one")).toBe("one");
    const before = sshd.logins();
    // The server's end of the connection: the child that serves this process.
    await execa("sh", [
      "-c",
      `ss -tnpH state established 'sport = :${sshd.port}' | grep -o 'pid=[0-9]*' | cut -d= -f2 | xargs kill`,
    ]);
    await vi.waitFor(async () => {
      expect(await ask(socket, "two")).toBe("two");
    });
    expect(sshd.logins()).toBe(before + 1);
    expect(told).toEqual([]);
  });

  it("asks every 15 seconds whether a silent machine is still there, because one without power does not say so", async () => {
    await open();
    expect(await ask(socket, "one")).toBe("one");
    const { stdout } = await execa("ss", ["-tnoH", "state", "established", `dport = :${sshd.port}`]);
    expect(stdout).toMatch(/timer:\(keepalive,1[0-5](\.\d+)?sec/);
    expect(stdout).not.toMatch(/timer:\(keepalive,\d+min/);
  });

  it("disconnects a client immediately, with the reason, if another machine answers, and sends that machine nothing", async () => {
    const before = sshd.logins();
    await open(target({ hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDDe5gkYXmwrvhDsOkmiVNyo8xGuMBVzEF8UlLZQPFWA" }));
    expect(await ask(socket, "secret")).toBe("");
    expect(told).toEqual([expect.stringMatching(/^127\.0\.0\.1: answers with another host key than this stack's/)]);
    expect(sshd.logins()).toBe(before);
  });

  it("shows that nothing answers, and serves as soon as something does", async () => {
    const nobody = await freePort();
    let to = nobody;
    await open(
      Promise.resolve({
        ...(await target()),
        get port() {
          return to;
        },
      }),
    );
    expect(await ask(port, "anybody?")).toBe("");
    expect(told).toEqual([
      expect.stringMatching(/^127\.0\.0\.1: cannot be reached over SSH \(.*ECONNREFUSED.*\)\. Check that adminCidrs/),
    ]);
    to = sshd.port;
    expect(await ask(port, "now?")).toBe("now?");
  });

  it("waits for a machine whose SSH starts later, but not longer than a boot may take", async () => {
    let to = await freePort();
    const machine = {
      ...(await target()),
      get port() {
        return to;
      },
    };
    const boot = new Boot(2);
    await open(Promise.resolve(machine), boot);
    const began = Date.now();
    expect(await ask(port, "anybody?")).toBe("");
    expect(Date.now() - began).toBeGreaterThan(1900);
    expect(told).toHaveLength(1);
    const answer = ask(port, "and now?");
    setTimeout(() => (to = sshd.port), 1000);
    expect(await answer).toBe("and now?");
    expect(told).toHaveLength(1);
  });

  it("does not wait for another machine, even if it boots", async () => {
    const boot = new Boot(60);
    boot.begin();
    const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDDe5gkYXmwrvhDsOkmiVNyo8xGuMBVzEF8UlLZQPFWA";
    await open(target({ hostKey }), boot);
    const began = Date.now();
    expect(await ask(socket, "secret")).toBe("");
    expect(Date.now() - began).toBeLessThan(10_000);
  });

  it("disconnects a client immediately, with the reason, if the host key will never be known", async () => {
    await open(Promise.reject(new Error("the droplet is still to be made")));
    expect(await ask(socket, "hello?")).toBe("");
    expect(told).toEqual(["the droplet is still to be made"]);
  });

  it("disconnects a client immediately if the machine does not have the service", async () => {
    await openTunnel(target(), [{ from: { socket }, to: "/nowhere.sock" }], (reason) => told.push(reason));
    expect(await ask(socket, "hello?")).toBe("");
  });
});

describe("the near end", () => {
  it("is in a new folder that only its owner may enter", async () => {
    await open();
    expect((lstatSync(path.dirname(socket)).mode & 0o777).toString(8)).toBe("700");
  });

  it.each([
    ["that others may enter", (near: string) => chmod(near, 0o750)],
    ["of somebody else", (near: string) => chown(near, 65534, 65534)],
  ])("is refused in a folder %s, even if a socket is served there", async (_, spoil) => {
    await mkdir(path.dirname(socket), { mode: 0o700 });
    const trap = net.createServer().listen(socket);
    await once(trap, "listening");
    await spoil(path.dirname(socket));
    await expect(open()).rejects.toThrow(
      `${path.dirname(socket)}: is open to other users of this computer, it should be only yours. Remove it, then run again.`,
    );
    trap.close();
  });

  it("is refused if its port is taken, with the setting to change", async () => {
    const other = net.createServer().listen(port, "127.0.0.1");
    await once(other, "listening");
    await expect(open()).rejects.toThrow(
      `port ${port} on this computer: is taken, it should be free. Choose another port with: npx pulumi config set --stack stack tunnelPort 25432`,
    );
    other.close();
    expect(existsSync(socket)).toBe(false);
  });
});

describe("a run", () => {
  const run = (life: "ends" | "stays") =>
    execa(
      "node",
      [path.join(import.meta.dirname, "ssh-tunnel-main.ts"), String(sshd.port), socket, String(port), far, life],
      {
        input: JSON.stringify({ privateKey: sshd.privateKey, hostKey: sshd.hostKey }),
        timeout: 30_000,
        reject: false,
      },
    );
  const opened = () =>
    vi.waitFor(
      () => {
        expect(existsSync(socket)).toBe(true);
      },
      { timeout: 20_000 },
    );

  it("ends by itself while its tunnel is open, and leaves nothing", async () => {
    expect(await run("ends")).toMatchObject({ exitCode: 0, stdout: "open" });
    expect(existsSync(path.dirname(socket))).toBe(false);
  });

  it("leaves a dead socket if it is killed, which the next one replaces", async () => {
    const killed = run("stays");
    await opened();
    expect(await ask(socket, "alive?")).toBe("alive?");
    killed.kill("SIGKILL");
    await killed;
    expect(existsSync(socket)).toBe(true);
    await open();
    expect(await ask(socket, "again?")).toBe("again?");
    expect(await ask(port, "and here?")).toBe("and here?");
  });

  it("shares the tunnel of another one, and takes over when that one ends", async () => {
    const first = run("stays");
    await opened();
    const before = sshd.logins();
    await open();
    expect(await ask(socket, "whose?")).toBe("whose?");
    expect(sshd.logins()).toBe(before + 1);
    first.kill();
    await first;
    for (const near of [socket, port]) {
      await vi.waitFor(async () => {
        expect(await ask(near, "mine")).toBe("mine");
      });
    }
    expect(sshd.logins()).toBe(before + 2);
  });
});
