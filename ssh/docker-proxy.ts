import http from "node:http";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream";
import { callbackify } from "node:util";

/**
 * The version of Docker's API that clients must use: that of Docker 25, the oldest that the newest engines accept (moby, "raise
 * default minimum API version to v1.44"). Debian 13 has Docker 26, an updated Ubuntu 24.04 has 28.
 */
const API_VERSION = "1.44";

/**
 * An HTTP server that forwards everything to a Docker engine, but answers `_ping` itself.
 *
 * The Docker provider pings when it is configured, without a timeout, and fails without an answer (pulumi-docker,
 * provider/image.go). It is configured in each preview, also before an unreachable droplet is replaced, so the answer must not
 * need the machine. If a request needs the machine and cannot reach it, the answer is 502 with the reason, and the provider
 * shows it with the resource.
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
  // A pull may take long, and so may the client's next request.
  return Object.assign(server, { keepAliveTimeout: 0, requestTimeout: 0 });
}

/** Sends requests over channels of the one SSH connection, and keeps the channels for the next requests. */
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
    callbackify(async () => {
      const channel = Object.assign(await this.#openChannel(), AS_SOCKET);
      // An engine that restarts closes its end. SSH keeps the other half open, in which the next request would get no answer.
      channel.once("end", () => channel.destroy());
      return channel;
    })(done);
  }
}

/** The methods that Node calls on a connection that it keeps. A channel does not need them: it never keeps the process alive. */
const AS_SOCKET = { ref: nothing, unref: nothing, setKeepAlive: nothing, setTimeout: nothing };

function nothing(): void {}
