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

/**
 * Why work ended before it was done, with the code and text of Go's contexts, which are what official plugins answer: the
 * engine took its call back or cancelled, or time ran out.
 */
export class ContextError extends Error {
  readonly reason: "cancelled" | "expired";
  constructor(reason: "cancelled" | "expired") {
    super(reason === "cancelled" ? "context canceled" : "context deadline exceeded");
    this.reason = reason;
  }
}

/** The program asks for something that only the official plugin has. */
export function unknownToken(kind: string, token: string, known: Record<string, unknown>): Error {
  return new Error(
    `${token}: is not a ${kind} of the sandbox's stand-in plugin, which has: ${Object.keys(known).join(", ")}. Use one of these or the official plugin.`,
  );
}

/** What a person is told of an error. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Puts what was being done in front of the message: `await pull().catch(failed("Unable to pull"))`. */
export function failed(doing: string): (error: unknown) => never {
  return (error) => {
    throw new Error(`${doing}: ${messageOf(error)}`, { cause: error });
  };
}

/**
 * Does what is left of a create once the resource exists: a failure of that is an InitError.
 *
 * @param known the outputs that are known by then
 */
export async function initializing<Result>(
  id: string,
  known: Readonly<Record<string, unknown>>,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw new InitError(id, known, messageOf(error), { cause: error });
  }
}
