import type { Context } from "./definition.ts";
import type { Engine } from "./engine.ts";

/** What the engine asked for. */
export interface Operation {
  urn: string;
  /** The resource's logical name, or the function's token. */
  name: string;
  /** 0: no limit. */
  timeoutSeconds: number;
}

/** Runs the work of resources and functions: within its time, cancellable, its log lines delivered before it ends. */
export class OperationRunner<Client> {
  readonly #engine: Engine | undefined;
  readonly #cancelled = new AbortController();
  #client: Promise<Client> | undefined;

  constructor(engine: Engine | undefined) {
    this.#engine = engine;
  }

  /** Sets what all work from now on uses; when making it failed, that work fails. */
  use(client: Promise<Client>): void {
    client.catch(() => undefined);
    this.#client = client;
  }

  /** Ends all that runs, and all that will be asked for. */
  cancel(): void {
    this.#cancelled.abort(new Error("cancelled"));
  }

  async run<Result>(operation: Operation, work: (context: Context<Client>) => Promise<Result>): Promise<Result> {
    if (!this.#client) throw new Error(`${operation.name}: the provider is not configured, Configure must come first.`);
    const { urn, name, timeoutSeconds } = operation;
    const deadline = new AbortController();
    const expire = () => {
      deadline.abort(new Error(`timeout: the operation is not done after ${timeoutSeconds} seconds`));
    };
    const timer = timeoutSeconds > 0 ? setTimeout(expire, timeoutSeconds * 1000) : undefined;
    const signal = AbortSignal.any([this.#cancelled.signal, deadline.signal]);
    try {
      const client = await this.#client;
      signal.throwIfAborted();
      return await work({
        client,
        urn,
        name,
        signal,
        timeoutSeconds: timeoutSeconds > 0 ? timeoutSeconds : undefined,
        log: (severity, message, options) => this.#engine?.log(severity, message, urn, options?.status ?? false),
      });
    } finally {
      clearTimeout(timer);
      await this.#engine?.flushed();
    }
  }
}
