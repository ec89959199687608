import * as pulumi from "@pulumi/pulumi";

/**
 * How long a machine may be waited for. What boots takes what it takes; what is off, closed or gone is not waited for, or a
 * run with something to ask there would hang.
 */
export class Boot {
  readonly #milliseconds: number;
  #begun = -Infinity;

  /** @param seconds  how long a boot may take; 0 waits for nothing */
  constructor(seconds: number) {
    this.#milliseconds = seconds * 1000;
  }

  /** For a run of the program, where a preview is not worth a wait. */
  static ofRun(seconds: number): Boot {
    return new Boot(pulumi.runtime.isDryRun() ? 0 : seconds);
  }

  /** Says that the machine was started just now. */
  readonly begin = (): void => {
    this.#begun = Date.now();
  };

  /**
   * Whether a connection that failed is worth another try.
   *
   * @param since  when the first try began, in milliseconds since 1970
   * @param refused  whether something answered and refused: a machine whose SSH is not up yet, rebooted by whomever
   */
  isLikely(since: number, refused: boolean): boolean {
    const begun = refused ? Math.max(since, this.#begun) : this.#begun;
    return Date.now() < begun + this.#milliseconds;
  }
}
