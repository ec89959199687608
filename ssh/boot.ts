import * as pulumi from "@pulumi/pulumi";

/**
 * How long a run waits for a machine: while it boots, but not if it is off, closed or gone. Otherwise a run that has requests
 * for such a machine would hang.
 */
export class Boot {
  readonly #milliseconds: number;
  #begun = -Infinity;

  /** @param seconds  how long a boot may take; 0 means no wait */
  constructor(seconds: number) {
    this.#milliseconds = seconds * 1000;
  }

  /** For a run of the program. A preview does not wait. */
  static ofRun(seconds: number): Boot {
    return new Boot(pulumi.runtime.isDryRun() ? 0 : seconds);
  }

  /** The machine has just been started. */
  readonly begin = (): void => {
    this.#begun = Date.now();
  };

  /**
   * Whether to try again after a connection failed.
   *
   * @param since  when the first try began, in milliseconds since 1970
   * @param refused  whether something refused the connection, as a machine does before its SSH has started
   */
  isLikely(since: number, refused: boolean): boolean {
    const begun = refused ? Math.max(since, this.#begun) : this.#begun;
    return Date.now() < begun + this.#milliseconds;
  }
}
