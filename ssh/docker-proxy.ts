import http from "node:http";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream";
import { callbackify } from "node:util";

/**
 * The version of Docker's API that clients are told to speak: that of Docker 25, the oldest that the newest engines still
 * accept (moby, "raise default minimum API version to v1.44"). Debian 13 has Docker 26, an updated Ubuntu 24.04 has 28.
 */
const API_VERSION = "1.44";

/**
 * An HTTP server that passes everything on to a Docker engine, but answers `_ping` by itself.
 *
 * The Docker provider pings when it is configured, without a timeout, and fails without an answer (pulumi-docker,
 * provider/image.go). It is configured in each preview, and before a droplet is replaced that nobody can reach any more, so
 * that answer must need no machine. What needs one and cannot reach it is answered 502 with the reason, which the provider
 * shows at the resource it was about.
 *
 * @param openChannel  a connection to the engine's socket
 */
export function dockerProxy(openChannel: () => Promise<Duplex>): http.Server {
  const agent = new EngineAgent(openChannel);
  const server = http.createServer((request, response) => {
    if (/^(\/v[\d.]+)?\/_ping$/.test(request.url ?? "")) {
      response.writeHead(200, { "api-version": API_VERSION, ostype: "linux", "content-type": "text/plain" }).end("OK");
      return;
    }
    const { method, url: path, headers } = request;
    const onward = http.request({ agent, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.statusMessage, answer.headers);
      pipeline(answer, response, () => undefined);
    });
    onward.once("error", ({ message }) => {
      if (response.headersSent) response.destroy();
      else response.writeHead(502, { "content-type": "application/json" }).end(JSON.stringify({ message }));
    });
    response.once("close", () => onward.destroy());
    pipeline(request, onward, () => undefined);
  });
  // How long an image takes to be pulled, or a client to ask the next question, is not this server's to decide.
  return Object.assign(server, { keepAliveTimeout: 0, requestTimeout: 0 });
}

/** Requests go over channels of the one SSH connection, which are kept for the next request. */
class EngineAgent extends http.Agent {
  readonly #openChannel: () => Promise<Duplex>;

  constructor(openChannel: () => Promise<Duplex>) {
    super({ keepAlive: true });
    this.#openChannel = openChannel;
  }

  override createConnection(
    _: http.ClientRequestArgs,
    done: (error: Error | null, channel: Duplex) => void,
  ): undefined {
    callbackify(async () => Object.assign(await this.#openChannel(), AS_SOCKET))(done);
  }
}

/** What Node asks of a connection that it keeps, and a channel has no need of: it never keeps the process alive. */
const AS_SOCKET = { ref: nothing, unref: nothing, setKeepAlive: nothing, setTimeout: nothing };

function nothing(): void {}
