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

/** How to reach a computer, an input of every remote resource. */
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
    /** Unset: `$SSH_AUTH_SOCK`, if that is set. */
    agentSocketPath: { type: "string" },
    /** One line as in `authorized_keys`. Unset: any host key is taken, as by the official plugin. */
    hostKey: { type: "string" },
    /** Failed attempts after which it gives up; -1 never. */
    dialErrorLimit: { type: "integer", default: 10 },
    /** Seconds to wait for TCP; 0 for ever. */
    perDialTimeout: { type: "integer", default: 15 },
    ...unsupported("privateKeyPassword", "proxy"),
  },
} as const satisfies Properties[string];

type Connection = ValueOf<typeof connection>;

// The official plugin's pauses between attempts, those of retry.Until in pulumi/sdk/go/common/util/retry.
const FIRST_PAUSE_MS = 100;
const PAUSE_FACTOR = 1.5;
const LONGEST_PAUSE_MS = 5000;

const UNLIMITED = -1;

/**
 * Connects, does the work and disconnects. Attempts to connect are repeated whatever the failure; a mistake in the
 * connection itself fails at once. The connection ends when the operation is cancelled or timed out.
 */
export async function withConnection<Result>(
  context: Context<undefined>,
  connection: Connection,
  work: (client: Client) => Promise<Result>,
): Promise<Result> {
  const client = await dialWithRetries(context, connection);
  const stop = () => {
    client.destroy();
  };
  context.signal.addEventListener("abort", stop);
  try {
    return await Promise.race([work(client), lost(client)]);
  } catch (error) {
    // What was cut off fails for a reason of its own, which tells the user nothing.
    context.signal.throwIfAborted();
    throw error;
  } finally {
    context.signal.removeEventListener("abort", stop);
    client.end();
  }
}

async function dialWithRetries(context: Context<undefined>, connection: Connection): Promise<Client> {
  const config = clientConfig(connection);
  const limit = connection.dialErrorLimit;
  for (let failures = 0, pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * PAUSE_FACTOR, LONGEST_PAUSE_MS)) {
    context.signal.throwIfAborted();
    try {
      return await dial(connection, config, context.signal);
    } catch (error) {
      context.signal.throwIfAborted();
      if (limit !== UNLIMITED && failures >= limit) {
        throw new Error(`after ${failures} failed attempts: ${messageOf(error)}`, { cause: error });
      }
    }
    failures += 1;
    const outOf = limit === UNLIMITED ? "inf" : String(limit);
    context.log("info", `Dial ${failures}/${outOf} failed: retrying`, { status: true });
    // A wait that is cut short ends in throwIfAborted above, with the reason.
    await sleep(pause, undefined, { signal: context.signal }).catch(() => undefined);
  }
}

function clientConfig(connection: Connection): ConnectConfig {
  const { user: username, password, privateKey, hostKey } = connection;
  const agent = connection.agentSocketPath ?? process.env["SSH_AUTH_SOCK"];
  const key = privateKey === undefined ? undefined : ssh2.utils.parseKey(privateKey);
  // The parser's own message may quote the key.
  if (key instanceof Error)
    throw new Error("connection.privateKey: is no private key that can be read, it must be one.");
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

/** One attempt; failures have the texts of the official plugin's SSH library, where these help to find the cause. */
async function dial(connection: Connection, config: ConnectConfig, signal: AbortSignal): Promise<Client> {
  const sock = await dialTcp(connection, signal);
  const client = new ssh2.Client();
  // Who waits for something learns of an error there; between waits it is no reason to crash.
  client.on("error", () => undefined);
  client.on("keyboard-interactive", (_name, _instructions, _language, prompts, finish) => {
    finish(prompts.map(() => connection.password ?? ""));
  });
  const abandon = () => sock.destroy(new Error("abandoned"));
  signal.addEventListener("abort", abandon);
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
  } finally {
    signal.removeEventListener("abort", abandon);
  }
}

async function dialTcp({ host, port, perDialTimeout }: Connection, signal: AbortSignal): Promise<Socket> {
  const socket = connect({ host, port });
  const limit = perDialTimeout > 0 ? AbortSignal.timeout(perDialTimeout * 1000) : undefined;
  try {
    await once(socket, "connect", { signal: limit ? AbortSignal.any([signal, limit]) : signal });
    return socket;
  } catch (error) {
    socket.destroy();
    throw new Error(`dial tcp ${host}:${port}: ${tcpMessage(error, limit)}`, { cause: error });
  }
}

function tcpMessage(error: unknown, limit: AbortSignal | undefined): string {
  if (limit?.aborted) return "i/o timeout";
  return (error as NodeJS.ErrnoException).code === "ECONNREFUSED" ? "connect: connection refused" : messageOf(error);
}

function handshakeMessage(error: unknown): string {
  if (messageOf(error).includes("Host denied")) return "ssh: host key mismatch";
  return (error as { level?: string }).level === "client-authentication"
    ? "ssh: unable to authenticate, no supported methods remain"
    : messageOf(error);
}

async function lost(client: Client): Promise<never> {
  await once(client, "close");
  throw new Error("the SSH connection was lost");
}
