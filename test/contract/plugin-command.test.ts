import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { chmod, mkdir, readFile, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Archive, Asset, reveal, Secret, UNKNOWN } from "../../sandbox/plugins/framework/values.ts";
import { PluginClient } from "./plugin-client.ts";
import type { Inputs, Made } from "./plugin-client.ts";
import { expectSame, standInOnly } from "./plugin-subject.ts";
import { freePort } from "../free-port.ts";
import { Sshd } from "./plugin-sshd.ts";

const COMMAND = "command:remote:Command";
const COPY = "command:remote:CopyToRemote";

let plugin: PluginClient;
let sshd: Sshd;

beforeAll(async () => {
  plugin = await PluginClient.start("command");
  await plugin.configure();
  sshd = await Sshd.start();
});
afterAll(async () => {
  await plugin[Symbol.asyncDispose]();
  await sshd[Symbol.asyncDispose]();
});
beforeEach(() => {
  plugin.logs.length = 0;
});

function command(inputs: Inputs): Inputs {
  return { connection: sshd.connection(), ...inputs };
}

const unlessOriginal = standInOnly("command", "the official plugin has all of it");

/** A command that never ran, because a diff only compares inputs. */
function planned(inputs: Inputs): Promise<Made> {
  return plugin.create(COMMAND, command(inputs), { preview: true });
}

describe("remote.Command", () => {
  test("runs create with stdin and keeps its output, each without the last newline", async () => {
    const made = await plugin.create(COMMAND, command({ create: "cat; echo; echo oops >&2", stdin: "in\n" }));
    expect(made.state).toMatchObject({ stdout: "in\n", stderr: "oops" });
    expect(made.id).toMatch(/^thing[0-9a-f]{8}$/);
  });

  test("uses one connection for each operation", async () => {
    const before = sshd.logins();
    const made = await plugin.create(COMMAND, command({ create: "echo one", delete: "true" }));
    expect(sshd.logins() - before).toBe(1);
    await plugin.delete(made);
    expect(sshd.logins() - before).toBe(2);
  });

  test("asks every 15 seconds whether a silent computer is still there", async () => {
    const timers = `sleep 0.3; ss -tnoH state established 'dport = :${sshd.port}'`;
    const made = await plugin.create(COMMAND, command({ create: timers }));
    expect(made.state["stdout"]).toMatch(/timer:\(keepalive,1[0-5](\.\d+)?sec/);
  });

  test("keeps the connection secret, in inputs and state, and defaults filled in", async () => {
    const { privateKey, hostKey } = sshd;
    const made = await plugin.create(COMMAND, {
      connection: { host: "127.0.0.1", port: sshd.port, privateKey, hostKey },
    });
    const connection = {
      host: "127.0.0.1",
      port: sshd.port,
      user: "root",
      privateKey,
      hostKey,
      dialErrorLimit: 10,
      perDialTimeout: 15,
    };
    for (const bag of [made.inputs, made.state]) expect(bag["connection"]).toBeInstanceOf(Secret);
    expect(reveal(made.inputs)).toEqual({ connection });
    expect(reveal(made.state)).toEqual({ connection, stdout: "", stderr: "" });
  });

  test("keeps secret what the program marks secret", async () => {
    const made = await plugin.create(COMMAND, command({ create: "true", stdin: new Secret("hush") }));
    expect(made.state["stdin"]).toEqual(new Secret("hush"));
  });

  test("never connects in a preview", async () => {
    const before = sshd.logins();
    const planned = await plugin.create(COMMAND, command({ create: "echo one" }), { preview: true });
    expect(planned.state).toMatchObject({ stdout: UNKNOWN, stderr: UNKNOWN, create: "echo one" });
    const made = await plugin.create(COMMAND, command({ create: "echo one" }));
    const update = await plugin.update(made, command({ create: "echo two" }), { preview: true });
    expect(update.state).toMatchObject({ stdout: UNKNOWN, stderr: UNKNOWN, create: "echo two" });
    const nowhere = await plugin.create(COMMAND, { connection: UNKNOWN, create: "echo one" }, { preview: true });
    expect(nowhere.state["connection"]).toEqual(new Secret(UNKNOWN));
    expect(sshd.logins() - before).toBe(1);
  });

  const base = { create: "echo created", stdin: "a" };
  test.each<[string, Inputs, string]>([
    ["create", { ...base, create: "echo other" }, "UPDATE"],
    ["stdin", { ...base, stdin: "b" }, "UPDATE"],
    ["update", { ...base, update: "echo updated" }, "ADD"],
    ["delete", { ...base, delete: "true" }, "ADD"],
    ["logging", { ...base, logging: "none" }, "ADD"],
    ["environment", { ...base, environment: { GREETING: "hi" } }, "ADD"],
    ["addPreviousOutputInEnv", { ...base, addPreviousOutputInEnv: false }, "ADD"],
  ])("is updated in place when %s changes", async (property, inputs, kind) => {
    const made = await planned(base);
    expect(await plugin.diff(made, command(inputs))).toEqual({
      detailed: { [property]: kind },
      replaces: [],
      diffs: [property],
      deleteBeforeReplace: false,
    });
  });

  test("is updated in place when the connection changes", async () => {
    const made = await planned(base);
    const diff = await plugin.diff(made, { ...base, connection: sshd.connection({ dialErrorLimit: -1 }) });
    // It is secret, so it is compared as a whole.
    expect(diff.detailed).toEqual({ connection: "UPDATE" });
    expect(diff.replaces).toEqual([]);
  });

  test.each<[string, unknown[] | undefined, unknown[] | undefined, Record<string, string>]>([
    ["changes", ["a", "b"], ["a", "c"], { "triggers[1]": "UPDATE" }],
    ["is added", ["a"], ["a", "b"], { "triggers[1]": "ADD" }],
    ["is removed", ["a", "b"], ["a"], { "triggers[1]": "DELETE" }],
    ["is not known yet", ["a"], [UNKNOWN], { "triggers[0]": "UPDATE" }],
    ["is an archive with other content", [archive("1")], [archive("2")], { "triggers[0]": "UPDATE" }],
  ])(
    "shows by its place when a trigger %s, and leaves it to the SDK to replace",
    async (_what, olds, news, detailed) => {
      const made = await planned({ create: "true", triggers: olds });
      expect(await plugin.diff(made, command({ create: "true", triggers: news }))).toEqual({
        detailed,
        replaces: [],
        diffs: ["triggers"],
        deleteBeforeReplace: false,
      });
    },
  );

  test("is replaced by the first trigger and by the loss of all", async () => {
    const [without, given] = [{ create: "true" }, { create: "true", triggers: ["a"] }];
    const first = await plugin.diff(await planned(without), command(given));
    expect(first).toMatchObject({ detailed: { triggers: "ADD_REPLACE" }, replaces: ["triggers"] });
    const none = await plugin.diff(await planned(given), command(without));
    expect(none).toMatchObject({ detailed: { triggers: "DELETE_REPLACE" }, deleteBeforeReplace: false });
  });

  test("is unchanged by a second run", async () => {
    const inputs = command({
      create: "true",
      triggers: ["a", { b: 1 }, archive("1")],
      environment: { GREETING: "hi" },
    });
    expect((await plugin.diff(await plugin.create(COMMAND, inputs), inputs)).detailed).toEqual({});
  });

  test("runs update on an update, and create when there is none", async () => {
    const made = await plugin.create(COMMAND, command({ create: "echo created" }));
    const again = await plugin.update(made, command({ create: "echo created again" }));
    expect(again.state["stdout"]).toBe("created again");
    const updated = await plugin.update(again, command({ create: "echo created again", update: "echo updated" }));
    expect(updated.state["stdout"]).toBe("updated");
    expect(updated.id).toBe(made.id);
    const silent = await plugin.update(updated, command({}));
    expect(silent.state["stdout"]).toBe("updated");
  });

  test("passes the last output to update and delete if the server accepts it, else warns", async () => {
    const made = await plugin.create(COMMAND, command({ create: "echo first; echo warned >&2" }));
    plugin.logs.length = 0;
    const print = 'echo "$PULUMI_COMMAND_STDOUT,$PULUMI_COMMAND_STDERR"';
    const updated = await plugin.update(made, command({ create: print }));
    expect(updated.state["stdout"]).toBe("first,");
    const warnings = plugin.logs.filter(({ severity }) => severity === "warning");
    expect(warnings.map(({ message }) => message)).toEqual([expect.stringContaining("PULUMI_COMMAND_STDERR")]);

    plugin.logs.length = 0;
    const without = await plugin.update(made, command({ create: print, addPreviousOutputInEnv: false }));
    expect(without.state["stdout"]).toBe(",");
    expect(plugin.logs.filter(({ severity }) => severity === "warning")).toEqual([]);
  });

  test("sets environment variables that the server accepts and fails on others", async () => {
    const made = await plugin.create(COMMAND, command({ create: "echo $GREETING", environment: { GREETING: "hi" } }));
    expect(made.state["stdout"]).toBe("hi");
    await expect(plugin.create(COMMAND, command({ create: "true", environment: { FORBIDDEN: "x" } }))).rejects.toThrow(
      'could not set environment variable "FORBIDDEN"',
    );
  });

  test("fails with the exit status, the whole command and its output", async () => {
    const failing = command({ create: "echo out; echo 'err' >&2; exit 3", logging: "none" });
    await expect(plugin.create(COMMAND, failing)).rejects.toThrow(
      /Process exited with status 3: running "echo out; echo 'err' >&2; exit 3":\n(out\nerr|err\nout)\n$/,
    );
  });

  test.each([
    [undefined, ["err", "out"]],
    ["stdoutAndStderr", ["err", "out"]],
    ["stdout", ["out"]],
    ["stderr", ["err"]],
    ["none", []],
  ])("shows lines as they come with logging %s", async (logging, lines) => {
    const made = await plugin.create(COMMAND, command({ create: "echo out; echo err >&2", logging }));
    expect(plugin.logs.map(({ message }) => message).sort()).toEqual(lines);
    for (const line of plugin.logs) expect(line).toMatchObject({ severity: "info", status: true, urn: made.urn });
    expect(made.state).toMatchObject({ stdout: "out", stderr: "err" });
  });

  test("shows a line before the command has ended", async () => {
    const gate = path.join(sshd.folder, "gate");
    const creating = plugin.create(
      COMMAND,
      command({ create: `echo waiting; until [ -e ${gate} ]; do sleep 0.05; done` }),
    );
    await expect.poll(() => plugin.logs.map(({ message }) => message), { timeout: 5000 }).toEqual(["waiting"]);
    await writeFile(gate, "");
    await creating;
  });

  test("is unchanged by a refresh, because nothing can be read", async () => {
    const made = await plugin.create(COMMAND, command({ create: "echo one" }));
    expect(await plugin.read(made)).toEqual(made);
  });

  test("runs delete with the connection, the stdin and the output in the state", async () => {
    const file = path.join(sshd.folder, "deleted");
    const made = await plugin.create(
      COMMAND,
      command({ create: "echo made", delete: `(cat; echo "$PULUMI_COMMAND_STDOUT") > ${file}`, stdin: "in " }),
    );
    await plugin.delete(made);
    expect(await readFile(file, "utf8")).toBe("in made\n");
  });

  test("fails to be deleted if delete fails", async () => {
    const made = await plugin.create(COMMAND, command({ delete: "exit 1" }));
    await expect(plugin.delete(made)).rejects.toThrow("Process exited with status 1");
  });

  test("stays in the state as it was if its update fails", async () => {
    const made = await plugin.create(COMMAND, command({ create: "true" }));
    const error: unknown = await plugin.update(made, command({ create: "exit 1" })).catch((caught: unknown) => caught);
    expect(String(error)).toContain("Process exited with status 1");
    expect(plugin.initErrorOf(error)).toBeUndefined();
  });

  test("fails if its session is cut, with its output until then", async () => {
    await expect(
      plugin.create(COMMAND, command({ create: "echo out; sleep 0.5; kill -9 $PPID; sleep 60" })),
    ).rejects.toThrow(/wait: remote command exited without exit status or exit signal: running "echo out.*":\nout\n$/);
  });

  test("fails if its connection is reset, as by a computer that has booted again", async () => {
    const reset = `ss -K -tnH state established 'sport = :${sshd.port}'`;
    await expect(plugin.create(COMMAND, command({ create: `sleep 0.5; ${reset}; sleep 60` }))).rejects.toThrow(
      /exited without exit status or exit signal|the SSH connection was lost/,
    );
  });

  test.each<[string, RegExp, () => Inputs]>([
    ["no connection", /connection/, () => ({})],
    ["no host", /host/, () => ({ connection: {} })],
    ["a member of the connection that nobody knows", /hostname/, () => ({ connection: { hostname: "x" } })],
    ["a property that nobody knows", /dir/, () => command({ dir: "/" })],
    ["a variable that is a number", /environment.*A.* a(n| ')? ?string/, () => command({ environment: { A: 1 } })],
  ])("refuses %s", async (_what, reason, inputs) => {
    await expect(plugin.check(COMMAND, inputs())).rejects.toThrow(reason);
  });

  unlessOriginal("refuses what it does not have", async () => {
    const refused = (options: Inputs) => plugin.check(COMMAND, { connection: sshd.connection(options) });
    await expect(refused({ proxy: { host: "x" } })).rejects.toThrow("connection.proxy is not implemented");
    await expect(refused({ privateKeyPassword: "x" })).rejects.toThrow(
      "connection.privateKeyPassword is not implemented",
    );
  });
});

describe("the connection", () => {
  function connecting(options: Record<string, unknown>, operation = {}): Promise<Made> {
    return plugin.create(COMMAND, { connection: sshd.connection(options), create: "true" }, operation);
  }

  test("to a host with another key fails as a host key mismatch, after the retries", async () => {
    const stranger = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIWz/3nrkuMlsumhO/JLMhF2G9s6qP8EHdRdD+vNYpSp";
    const before = sshd.logins();
    await expect(connecting({ hostKey: stranger, dialErrorLimit: 1 })).rejects.toThrow(
      "after 1 failed attempts: ssh: handshake failed: ssh: host key mismatch",
    );
    expect(plugin.logs.map(({ message }) => message)).toEqual(["Dial 1/1 failed: retrying"]);
    expect(sshd.logins()).toBe(before);
  });

  test("requires the type of the pinned key", async () => {
    const file = path.join(sshd.folder, "ecdsa");
    await execa("ssh-keygen", ["-q", "-t", "ecdsa", "-N", "", "-f", file]);
    const hostKey = await readFile(`${file}.pub`, "utf8");
    await expect(connecting({ hostKey, dialErrorLimit: 0 })).rejects.toThrow(
      /^2 UNKNOWN: after 0 failed attempts: ssh: handshake failed: .*host key/,
    );
  });

  test("without a pinned key accepts any, like the official plugin", async () => {
    await expect(connecting({ hostKey: undefined })).resolves.toMatchObject({ type: COMMAND });
  });

  test("with a key that the server does not know fails after the retries", async () => {
    const file = path.join(sshd.folder, "unknown");
    await execa("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", file]);
    await expect(connecting({ privateKey: await readFile(file, "utf8"), dialErrorLimit: 1 })).rejects.toThrow(
      "after 1 failed attempts: ssh: handshake failed: ssh: unable to authenticate",
    );
  });

  test("with a broken key fails immediately, without the key in the message", async () => {
    await expect(connecting({ privateKey: "-----BEGIN hush" })).rejects.toThrow(/^2 UNKNOWN: ssh: no key found$/);
    expect(plugin.logs).toEqual([]);
  });

  test("is retried until the server is there, without limit at -1", async () => {
    await using late = await Sshd.start();
    await late.stop();
    const connection = late.connection({ dialErrorLimit: -1 });
    const creating = plugin.create(COMMAND, { connection, create: "echo up" });
    await expect.poll(() => plugin.logs.map(({ message }) => message)).toContain("Dial 2/inf failed: retrying");
    for (const line of plugin.logs) expect(line).toMatchObject({ severity: "info", status: true });
    await late.run();
    expect((await creating).state["stdout"]).toBe("up");
  });

  test("ends between two attempts if the user cancels", async () => {
    await using own = await PluginClient.start("command");
    await own.configure();
    const connection = sshd.connection({ port: await freePort(), dialErrorLimit: -1 });
    const creating = own.create(COMMAND, { connection, create: "true" });
    creating.catch(() => undefined);
    await expect
      .poll(() => own.logs.map(({ message }) => message), { timeout: 10_000 })
      .toContain("Dial 2/inf failed: retrying");
    await own.cancel();
    await expect(creating).rejects.toThrow(/^1 CANCELLED: context canceled$/);
  });

  test("does not end while a command runs, neither by the user nor by the resource's timeout", async () => {
    await using own = await PluginClient.start("command");
    await own.configure();
    const gate = path.join(sshd.folder, "gate-of-cancel");
    const create = `echo started; until [ -e ${gate} ]; do sleep 0.1; done; echo ended`;
    const creating = own.create(COMMAND, command({ create }), { timeoutSeconds: 1 });
    await expect.poll(() => own.logs.map(({ message }) => message), { timeout: 10_000 }).toContain("started");
    await own.cancel();
    await sleep(1500);
    await writeFile(gate, "");
    expect((await creating).state["stdout"]).toBe("started\nended");
  });

  test("outlives the engine, like the command", async () => {
    await using own = await PluginClient.start("command");
    await own.configure();
    const [gate, ended] = [path.join(sshd.folder, "gate-of-kill"), path.join(sshd.folder, "ended")];
    const create = `echo started; until [ -e ${gate} ]; do sleep 0.1; done; echo still here; echo > ${ended}`;
    own.create(COMMAND, command({ create })).catch(() => undefined);
    await expect.poll(() => own.logs.map(({ message }) => message), { timeout: 10_000 }).toContain("started");
    own.killEngine();
    await sleep(500);
    expect(own.isAlive()).toBe(true);
    await writeFile(gate, "");
    await expect.poll(() => readFile(ended, "utf8").catch(() => "not yet")).toBe("\n");
  });

  test("needs the agent that the environment or the resource names, even with a key", async () => {
    const [none, other] = [path.join(sshd.folder, "no-agent"), path.join(sshd.folder, "nor-this")];
    await using own = await PluginClient.start("command", { env: { SSH_AUTH_SOCK: none } });
    await own.configure();
    const asked = (options: Inputs) => own.create(COMMAND, { connection: sshd.connection(options), create: "true" });
    const reason = "connect: no such file or directory";
    await expect(asked({})).rejects.toThrow(`2 UNKNOWN: dial unix ${none}: ${reason}`);
    await expect(asked({ agentSocketPath: other })).rejects.toThrow(`2 UNKNOWN: dial unix ${other}: ${reason}`);
    expect(own.logs).toEqual([]);
    const made = await own.create(COMMAND, { connection: sshd.connection(), create: "true" }, { preview: true });
    expect(made.state["create"]).toBe("true");
  });

  test("accepts an agent without keys", async () => {
    const agent = path.join(sshd.folder, "agent");
    const { pid } = execa("ssh-agent", ["-D", "-a", agent], { reject: false });
    try {
      await expect
        .poll(() =>
          stat(agent).then(
            (found) => found.isSocket(),
            () => false,
          ),
        )
        .toBe(true);
      await using own = await PluginClient.start("command", { env: { SSH_AUTH_SOCK: agent } });
      await own.configure();
      expect((await own.create(COMMAND, command({ create: "echo in" }))).state["stdout"]).toBe("in");
    } finally {
      if (pid !== undefined) process.kill(pid);
    }
  });

  test("to a closed port fails with the reason", async () => {
    const port = await freePort();
    await expect(connecting({ port, dialErrorLimit: 2 })).rejects.toThrow(
      `after 2 failed attempts: dial tcp 127.0.0.1:${port}: connect: connection refused`,
    );
  });

  test("fails after the resource's timeout", async () => {
    const port = await freePort();
    await expect(connecting({ port, dialErrorLimit: -1 }, { timeoutSeconds: 1 })).rejects.toThrow(
      /^4 DEADLINE_EXCEEDED: context deadline exceeded$/,
    );
  });

  test("waits without limit for a server that never answers", async () => {
    const mute = createServer((socket) => sockets.push(socket)).listen(0, "127.0.0.1");
    const sockets: Socket[] = [];
    try {
      await once(mute, "listening");
      const { port } = mute.address() as AddressInfo;
      const options = { port, perDialTimeout: 1, dialErrorLimit: 0 };
      const creating = connecting(options, { timeoutSeconds: 1 }).catch(String);
      const early = await Promise.race([creating, sleep(3000, "still waiting")]);
      expect(early).toBe("still waiting");
      for (const socket of sockets) socket.destroy();
      expect(await creating).toContain("after 0 failed attempts: ssh: handshake failed: ");
    } finally {
      mute.close();
    }
  });
});

describe("remote.CopyToRemote", () => {
  let source: string;
  let target: string;
  let counter = 0;

  beforeEach(async () => {
    counter += 1;
    source = path.join(sshd.folder, `source-${counter}`);
    target = path.join(sshd.folder, `target-${counter}`);
    await mkdir(path.join(source, "deep", "empty"), { recursive: true });
    await writeFile(path.join(source, "script.sh"), "echo hi\n");
    await chmod(path.join(source, "script.sh"), 0o700);
    await writeFile(path.join(source, "deep", "nothing"), "");
  });

  function copy(what: Asset | Archive, options: Inputs = {}): Inputs {
    return { connection: sshd.connection(), source: what, remotePath: target, ...options };
  }

  test("copies a folder under its own name, with all its contents", async () => {
    const made = await plugin.create(COPY, copy(new Archive({ path: source, hash: "1" })));
    const landed = path.join(target, path.basename(source));
    expect(await readFile(path.join(landed, "script.sh"), "utf8")).toBe("echo hi\n");
    expect(await readFile(path.join(landed, "deep", "nothing"), "utf8")).toBe("");
    expect((await stat(path.join(landed, "deep", "empty"))).isDirectory()).toBe(true);
    expect((await stat(path.join(landed, "script.sh"))).mode & 0o777).toBe(0o644);
    expect(made.id).toMatch(/^[0-9a-f]{8}$/);
    expect(Object.keys(made.state).sort()).toEqual(["connection", "remotePath", "source"]);
    expect(made.state["connection"]).toBeInstanceOf(Secret);
  });

  test("copies a folder's contents if its path ends in a slash", async () => {
    await plugin.create(COPY, copy(new Archive({ path: `${source}/`, hash: "1" })));
    expect(await readFile(path.join(target, "script.sh"), "utf8")).toBe("echo hi\n");
  });

  test("copies a file to a path, making its parents, or into a folder", async () => {
    const file = new Asset({ path: path.join(source, "script.sh"), hash: "1" });
    await plugin.create(COPY, copy(file, { remotePath: path.join(target, "a", "b.sh") }));
    expect(await readFile(path.join(target, "a", "b.sh"), "utf8")).toBe("echo hi\n");
    await plugin.create(COPY, copy(file));
    expect(await readFile(path.join(target, "script.sh"), "utf8")).toBe("echo hi\n");
  });

  test("writes a text to a path, and replaces a file there", async () => {
    const made = await plugin.create(COPY, copy(new Asset({ text: "a long text ünd more\n", hash: "1" })));
    await plugin.update(made, copy(new Asset({ text: "short\n", hash: "2" })));
    expect(await readFile(target, "utf8")).toBe("short\n");
    await expect(
      plugin.create(COPY, copy(new Asset({ text: "x", hash: "3" }), { remotePath: source })),
    ).rejects.toThrow(`remote path ${source} is a directory; when using a text asset, remotePath must be a file path`);
  });

  test("copies again only if the content or the path changed", async () => {
    const made = await plugin.create(COPY, copy(new Asset({ text: "one", hash: "1" })));
    await writeFile(target, "changed behind its back");
    const same = copy(new Asset({ text: "one", hash: "1" }), { connection: sshd.connection({ dialErrorLimit: 3 }) });
    expect((await plugin.diff(made, same)).detailed).toEqual({ connection: "UPDATE" });
    const updated = await plugin.update(made, same);
    expect(await readFile(target, "utf8")).toBe("changed behind its back");
    const moved = { ...same, remotePath: `${target}-moved` };
    expect((await plugin.diff(updated, moved)).detailed).toEqual({ remotePath: "UPDATE" });
    await plugin.update(updated, moved);
    expect(await readFile(`${target}-moved`, "utf8")).toBe("one");
  });

  test("compares sources by their hashes, because the state has no contents", async () => {
    const made = await plugin.create(COPY, copy(new Asset({ text: "one", hash: "1" })));
    const stored: Made = { ...made, inputs: { ...made.inputs, source: new Asset({ hash: "1" }) } };
    expect((await plugin.diff(stored, copy(new Asset({ text: "one", hash: "1" })))).detailed).toEqual({});
    expect((await plugin.diff(stored, copy(new Asset({ text: "two", hash: "2" })))).detailed).toEqual({
      source: "UPDATE",
    });
  });

  test("shows a changed trigger, and lets the SDK replace the resource", async () => {
    const text = new Asset({ text: "one", hash: "1" });
    const made = await plugin.create(COPY, copy(text, { triggers: ["a"] }));
    const diff = await plugin.diff(made, copy(text, { triggers: ["b"] }));
    expect(diff.detailed).toEqual({ "triggers[0]": "UPDATE" });
    expect(diff.replaces).toEqual([]);
  });

  test("never connects in a preview, is unchanged by a refresh, and leaves the copy after a delete", async () => {
    const before = sshd.logins();
    const text = new Asset({ text: "one", hash: "1" });
    await plugin.create(COPY, copy(text), { preview: true });
    expect(sshd.logins()).toBe(before);
    const made = await plugin.create(COPY, copy(text));
    const found = await plugin.read(made);
    expectSame(found ?? { ...made, id: "gone" }, made);
    await plugin.delete(made);
    expect(await readFile(target, "utf8")).toBe("one");
  });

  test.each<[string, Inputs, RegExp]>([
    ["a source that is not known yet", { source: UNKNOWN }, /^either asset or archive must be set$/],
    [
      "an archive of files",
      { source: new Archive({ assets: {}, hash: "1" }) },
      /^archive must be a path to a file or directory$/,
    ],
    [
      "a file from the network",
      { source: new Asset({ uri: "http://x", hash: "1" }) },
      /^asset must be a path-based file asset or a text asset$/,
    ],
    ["a text for a file", { source: "x" }, /asset/],
    ["no path", { remotePath: undefined }, /remotePath/],
    ["a property that nobody knows", { localPath: "x" }, /localPath/],
  ])("refuses %s", async (_what, options, reason) => {
    await expect(plugin.check(COPY, copy(new Asset({ text: "one", hash: "1" }), options))).rejects.toThrow(reason);
  });
});

function archive(hash: string): Archive {
  return new Archive({ path: "/nowhere", hash });
}
