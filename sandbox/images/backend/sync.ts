import type { Server } from "node:http";
import { WebSocketServer, type WebSocket } from "ws";
import { ApiError } from "./api-error.ts";
import { authenticateKey, type Identity } from "./authentication.ts";
import type { Deployment } from "./deployment.ts";
import type { Args } from "./function-definition.ts";
import { runFunction, type FunctionResult } from "./functions.ts";
import { log } from "./log.ts";

const PATH = /^\/api\/([^/]+\/)?sync$/;
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
const PING_INTERVAL_MS = 5000;

const NO_COMPONENTS: FunctionResult = {
  status: "error",
  errorMessage: "Components are not served by this stand-in of the backend.",
};

interface QueryChange {
  type: "Add" | "Remove";
  queryId: number;
  udfPath: string;
  args: Args[];
  componentPath?: string;
}

type ClientMessage =
  | { type: "Connect" | "Event" }
  | { type: "Authenticate"; tokenType: "Admin" | "User" | "None"; value: string; baseVersion: number }
  | { type: "ModifyQuerySet"; newVersion: number; modifications: QueryChange[] }
  | { type: "Mutation" | "Action"; requestId: number };

/**
 * Serves the WebSocket of clients as far as the CLI needs it: queries are answered once, and not again when their data
 * changes; there are no mutations or actions.
 *
 * @param onFatal is called with each error; returns true if the process cannot continue
 * @returns a function that ends all connections, so that the server can close
 */
export function serveSync(server: Server, deployment: Deployment, onFatal: (error: unknown) => boolean): () => void {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_MESSAGE_BYTES });
  server.on("upgrade", (request, socket, head) => {
    if (PATH.test(new URL(request.url ?? "/", "http://backend").pathname)) {
      sockets.handleUpgrade(request, socket, head, (client) => {
        serveClient(client, deployment, onFatal);
      });
    } else {
      socket.end("HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n");
    }
  });
  return () => {
    for (const client of sockets.clients) client.terminate();
  };
}

function serveClient(client: WebSocket, deployment: Deployment, onFatal: (error: unknown) => boolean): void {
  const session = new Session(deployment, (message) => {
    client.send(JSON.stringify(message));
  });
  const ping = setInterval(() => {
    client.send('{"type":"Ping"}');
  }, PING_INTERVAL_MS);
  client.on("close", () => {
    clearInterval(ping);
  });
  client.on("error", (error) => {
    log.debug(`a client's socket broke: ${error.message}`);
  });
  // In the order of the messages, because each answer names the version of the previous one.
  let answered = Promise.resolve();
  client.on("message", (data: Buffer) => {
    answered = answered
      .then(() => session.handle(JSON.parse(data.toString()) as ClientMessage))
      .catch((error: unknown) => {
        if (onFatal(error)) return;
        log.warn(`a client's message cannot be handled: ${String(error)}`);
        client.send(JSON.stringify({ type: "FatalError", error: "Received an invalid message" }));
        client.close();
      });
  });
}

/** One client's identity, and the versions that both sides count. */
class Session {
  readonly #deployment: Deployment;
  readonly #send: (message: unknown) => void;
  #identity: Identity;
  #version = { querySet: 0, identity: 0, ts: timestamp(0n) };

  constructor(deployment: Deployment, send: (message: unknown) => void) {
    this.#deployment = deployment;
    this.#send = send;
  }

  async handle(message: ClientMessage): Promise<void> {
    switch (message.type) {
      case "Connect":
      case "Event":
        return;
      case "Authenticate":
        this.#authenticate(message.tokenType, message.value, message.baseVersion);
        return;
      case "ModifyQuerySet": {
        const modifications = [];
        for (const change of message.modifications) modifications.push(await this.#apply(change));
        this.#advance({ querySet: message.newVersion }, modifications);
        return;
      }
      case "Mutation":
      case "Action":
        this.#send({
          type: `${message.type}Response`,
          requestId: message.requestId,
          success: false,
          result: `${message.type}s over WebSocket are not served by this stand-in of the backend. Call them over HTTP.`,
          logLines: [],
        });
        return;
      default:
        throw new Error(`unknown type ${(message as { type: string }).type}`);
    }
  }

  #authenticate(tokenType: "Admin" | "User" | "None", token: string, baseVersion: number): void {
    const { instanceName, secret } = this.#deployment;
    try {
      if (tokenType === "User") throw new ApiError(401, "NoAuthProvider", "No auth provider found matching the token.");
      this.#identity = tokenType === "None" ? undefined : authenticateKey(token, instanceName, secret);
      this.#advance({ identity: baseVersion + 1 }, []);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#send({ type: "AuthError", error: error.message, baseVersion, authUpdateAttempted: true });
    }
  }

  async #apply({ type, queryId, udfPath, args, componentPath }: QueryChange): Promise<unknown> {
    if (type === "Remove") return { type: "QueryRemoved", queryId };
    const result = componentPath ? NO_COMPONENTS : await this.#query(canonicalPath(udfPath), args[0] ?? {});
    const common = { queryId, logLines: [], journal: null };
    return result.status === "success"
      ? { type: "QueryUpdated", ...common, value: result.value }
      : { type: "QueryFailed", ...common, errorMessage: result.errorMessage };
  }

  async #query(path: string, args: Args): Promise<FunctionResult> {
    try {
      return await runFunction(this.#deployment, this.#identity, path, args, "query");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return { status: "error", errorMessage: error.message };
    }
  }

  #advance(versions: { querySet?: number; identity?: number }, modifications: unknown[]): void {
    const startVersion = this.#version;
    this.#version = { ...startVersion, ...versions, ts: timestamp(BigInt(Date.now()) * 1_000_000n) };
    this.#send({ type: "Transition", startVersion, endVersion: this.#version, modifications });
  }
}

/** `messages` means its default function, `messages:default`. */
function canonicalPath(path: string): string {
  return path.includes(":") ? path : `${path}:default`;
}

/** Nanoseconds since the epoch in eight bytes, lowest first, as base64. */
function timestamp(nanoseconds: bigint): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(nanoseconds);
  return bytes.toString("base64");
}
