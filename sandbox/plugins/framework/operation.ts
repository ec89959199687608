import type { Context, Plugin } from "./definition.ts";
import type { Engine } from "./engine.ts";
import { ContextError } from "./errors.ts";

/** The engine's request. */
export interface Operation {
  urn: string;
  /** The resource's logical name, or the function's token. */
  name: string;
  /** 0: no limit. */
  timeoutSeconds: number;
  /** Aborts if the engine no longer waits for the answer. */
  call: AbortSignal;
}

/** Runs the work of resources and functions, with its time limit, and delivers its log lines before it ends. */
export class OperationRunner<Client> {
  readonly #engine: Engine | undefined;
  readonly #cancellable: boolean;
  readonly #cancelled = new AbortController();
  #client: Client | undefined;
  #configured = false;

  /** If the user cancels, the work of native plugins is aborted; that of bridged ones continues. */
  constructor(engine: Engine | undefined, kind: Plugin<Client>["kind"]) {
    this.#engine = engine;
    this.#cancellable = kind === "native";
  }

  /** Sets the client for all later work. */
  use(client: Client): void {
    this.#client = client;
    this.#configured = true;
  }

  /** The user pressed Ctrl-C. */
  cancel(): void {
    if (this.#cancellable) this.#cancelled.abort(new ContextError("cancelled"));
  }

  async run<Result>(operation: Operation, work: (context: Context<Client>) => Promise<Result>): Promise<Result> {
    if (!this.#configured)
      throw new Error(`${operation.name}: the provider is not configured, Configure must come first.`);
    const { urn, name, timeoutSeconds, call } = operation;
    const deadline = new AbortController();
    const expire = () => {
      deadline.abort(new ContextError("expired"));
    };
    const timer = timeoutSeconds > 0 ? setTimeout(expire, timeoutSeconds * 1000) : undefined;
    try {
      return await work({
        client: this.#client as Client,
        urn,
        name,
        signal: AbortSignal.any([this.#cancelled.signal, deadline.signal, call]),
        timeoutSeconds: timeoutSeconds > 0 ? timeoutSeconds : undefined,
        log: (severity, message, options) => this.#engine?.log(severity, message, urn, options?.status ?? false),
      });
    } finally {
      clearTimeout(timer);
      await this.#engine?.flushed();
    }
  }
}
