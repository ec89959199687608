/** The resource exists, with `id`, but is not as it should be: it stays in the state and the next run updates it. */
export class InitError extends Error {
  readonly id: string;
  /** What is known of its outputs. */
  readonly outputs: Readonly<Record<string, unknown>>;
  constructor(id: string, outputs: Readonly<Record<string, unknown>>, reason: string, options?: ErrorOptions) {
    super(reason, options);
    this.id = id;
    this.outputs = outputs;
  }
}
