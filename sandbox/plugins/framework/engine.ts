import grpc from "@grpc/grpc-js";
import engineServices from "@pulumi/pulumi/proto/engine_grpc_pb.js";
import engineMessages from "@pulumi/pulumi/proto/engine_pb.js";
import type { LogSeverity } from "./definition.ts";

const { DEBUG, INFO, WARNING, ERROR } = engineMessages.LogSeverity;
const SEVERITIES = { debug: DEBUG, info: INFO, warning: WARNING, error: ERROR };

/** The engine that started this plugin; it shows the plugin's log lines. */
export class Engine {
  readonly #client: InstanceType<typeof engineServices.EngineClient>;
  #lastLine: Promise<void> = Promise.resolve();

  constructor(address: string) {
    this.#client = new engineServices.EngineClient(address, grpc.credentials.createInsecure());
  }

  /** Shows a line on a resource; lines arrive in the order of the calls. */
  log(severity: LogSeverity, message: string, urn: string, status: boolean): void {
    const request = new engineMessages.LogRequest();
    request.setSeverity(SEVERITIES[severity]);
    request.setMessage(message);
    request.setUrn(urn);
    request.setEphemeral(status);
    this.#lastLine = this.#lastLine.then(
      () =>
        new Promise((resolve) => {
          // If a line cannot be delivered, the operation must not fail.
          this.#client.log(request, () => {
            resolve();
          });
        }),
    );
  }

  /** Resolves when every line has arrived, so that an operation's answer comes after its lines. */
  flushed(): Promise<void> {
    return this.#lastLine;
  }
}

/** How often official plugins check that their engine still runs. */
const HEALTH_CHECK_MS = 5 * 60_000;

/**
 * Calls `gone` when the engine no longer answers. Like the official plugins, it checks at intervals, so a plugin outlives
 * a killed engine by one interval at most.
 */
export function watchEngine(address: string, gone: () => void, intervalMs = HEALTH_CHECK_MS): void {
  const client = new grpc.Client(address, grpc.credentials.createInsecure());
  const empty = () => Buffer.alloc(0);
  const timer = setInterval(() => {
    client.makeUnaryRequest(
      "/grpc.health.v1.Health/Check",
      empty,
      () => undefined,
      null,
      (error) => {
        // An engine that does not know this call runs.
        if (error === null || error.code === grpc.status.UNIMPLEMENTED) return;
        clearInterval(timer);
        gone();
      },
    );
  }, intervalMs);
}
