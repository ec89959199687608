import { once } from "node:events";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import ssh2 from "ssh2";
import type { Client, ConnectConfig } from "ssh2";
import { unsupported } from "../framework/definition.ts";
import type { Context, Properties, ValueOf } from "../framework/definition.ts";
import { messageOf } from "../framework/errors.ts";
import { parseHostKey } from "./host-key.ts";

/** The connection to a computer, an input of every remote resource. */
export const connection = {
  type: "object",
  required: true,
  secret: true,
  properties: {
    host: { type: "string", required: true },
    port: { type: "number", default: 22 },
    user: { type: "string", default: "root" },
    password: { type: "string" },
    privateKey: { type: "string" },
    /** Default: `$SSH_AUTH_SOCK`, if that is set. */
    agentSocketPath: { type: "string" },
    /** One line as in `authorized_keys`. If unset, any host key is accepted, as in the official plugin. */
    hostKey: { type: "string" },
    /** The maximum of failed attempts; -1 for no limit. */
    dialErrorLimit: { type: "integer", default: 10 },
    /** Seconds to wait for TCP; 0 for no limit. */
    perDialTimeout: { type: "integer", default: 15 },
    ...unsupported("privateKeyPassword", "proxy"),
  },
} as const satisfies Properties[string];

type Connection = ValueOf<typeof connection>;

// The official plugin's pauses between attempts, from retry.Until in pulumi/sdk/go/common/util/retry.
const FIRST_PAUSE_MS = 100;
const PAUSE_FACTOR = 1.5;
const LONGEST_PAUSE_MS = 5000;

const UNLIMITED = -1;

// Go's default, with which the official plugin finds out that a computer has lost power.
const PROBE_MS = 15_000;

/**
 * Connects, does the work and disconnects. It repeats failed attempts to connect, but fails immediately if the input
 * `connection` is wrong or the agent does not exist. If the operation is cancelled or timed out, only the pauses between
 * attempts end, not an attempt or the work.
 */
export async function withConnection<Result>(
  context: Context<undefined>,
  connection: Connection,
  work: (client: Client) => Promise<Result>,
): Promise<Result> {
  const client = await dialWithRetries(context, connection);
  try {
    return await Promise.race([work(client), lost(client)]);
  } finally {
    client.end();
  }
}

async function dialWithRetries(context: Context<undefined>, connection: Connection): Promise<Client> {
  const config = clientConfig(connection);
  await dialAgent(config.agent);
  const limit = connection.dialErrorLimit;
  for (let failures = 0, pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * PAUSE_FACTOR, LONGEST_PAUSE_MS)) {
    try {
      return await dial(connection, config);
    } catch (error) {
      if (limit !== UNLIMITED && failures >= limit) {
        throw new Error(`after ${failures} failed attempts: ${messageOf(error)}`, { cause: error });
      }
    }
    failures += 1;
    const outOf = limit === UNLIMITED ? "inf" : String(limit);
    context.log("info", `Dial ${failures}/${outOf} failed: retrying`, { status: true });
    // If the pause is aborted, throwIfAborted throws the reason.
    await sleep(pause, undefined, { signal: context.signal }).catch(() => undefined);
    context.signal.throwIfAborted();
  }
}

/** A named agent must exist, even if it is not needed. */
async function dialAgent(agent: ConnectConfig["agent"]): Promise<void> {
  if (typeof agent !== "string") return;
  const socket = connect(agent);
  try {
    await once(socket, "connect");
  } catch (error) {
    throw new Error(`dial unix ${agent}: connect: ${reasonOf(error)}`, { cause: error });
  } finally {
    socket.destroy();
  }
}

function clientConfig(connection: Connection): ConnectConfig {
  const { user: username, password, privateKey, hostKey } = connection;
  const agent = connection.agentSocketPath ?? process.env["SSH_AUTH_SOCK"];
  const key = privateKey === undefined ? undefined : ssh2.utils.parseKey(privateKey);
  // Without the parser's message, which may quote the key.
  if (key instanceof Error) throw new Error("ssh: no key found");
  const known = hostKey === undefined ? undefined : parseHostKey(hostKey);
  return {
    username,
    // The official plugin limits only the wait for TCP, not the handshake.
    readyTimeout: 0,
    ...(password === undefined ? {} : { password, tryKeyboard: true }),
    ...(privateKey === undefined ? {} : { privateKey }),
    ...(agent ? { agent } : {}),
    ...(known && {
      algorithms: { serverHostKey: [known.algorithm] },
      hostVerifier: (offered: Buffer) => offered.equals(known.blob),
    }),
  };
}

/** One attempt. Failures have the texts of the official plugin's SSH library, if these help to find the cause. */
async function dial(connection: Connection, config: ConnectConfig): Promise<Client> {
  const sock = await dialTcp(connection);
  const client = new ssh2.Client();
  // Each wait handles errors itself; between waits, an error must not crash the process.
  client.on("error", () => undefined);
  client.on("keyboard-interactive", (_name, _instructions, _language, prompts, finish) => {
    finish(prompts.map(() => connection.password ?? ""));
  });
  try {
    const ready = once(client, "ready");
    const closed = once(client, "close").then(() => {
      throw new Error("the server closed the connection");
    });
    client.connect({ ...config, sock });
    await Promise.race([ready, closed]);
    return client;
  } catch (error) {
    client.destroy();
    throw new Error(`ssh: handshake failed: ${handshakeMessage(error)}`, { cause: error });
  }
}

async function dialTcp({ host, port, perDialTimeout }: Connection): Promise<Socket> {
  const socket = connect({ host, port, keepAlive: true, keepAliveInitialDelay: PROBE_MS });
  const limit = perDialTimeout > 0 ? AbortSignal.timeout(perDialTimeout * 1000) : undefined;
  try {
    await once(socket, "connect", limit ? { signal: limit } : {});
    return socket;
  } catch (error) {
    socket.destroy();
    const reason = limit?.aborted ? "i/o timeout" : `connect: ${reasonOf(error)}`;
    throw new Error(`dial tcp ${host}:${port}: ${reason}`, { cause: error });
  }
}

/** The system's texts for failures that need no explanation. */
function reasonOf(error: unknown): string {
  const words: Record<string, string> = {
    ECONNREFUSED: "connection refused",
    ENOENT: "no such file or directory",
    EACCES: "permission denied",
    EHOSTUNREACH: "no route to host",
    ENETUNREACH: "network is unreachable",
  };
  return words[(error as NodeJS.ErrnoException).code ?? ""] ?? messageOf(error);
}

function handshakeMessage(error: unknown): string {
  if (messageOf(error).includes("Host denied")) return "ssh: host key mismatch";
  return (error as { level?: string }).level === "client-authentication"
    ? "ssh: unable to authenticate, no supported methods remain"
    : messageOf(error);
}

async function lost(client: Client): Promise<never> {
  // Not with `once` of node:events, which fails at the error that comes before if the connection was reset.
  await new Promise<void>((resolve) => {
    client.once("close", resolve);
  });
  // If the work noticed the end too, its error is better.
  await sleep(0);
  throw new Error("the SSH connection was lost");
}
