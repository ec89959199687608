/** The resource exists, with `id`, but is incomplete: it stays in the state, and the next run updates it. */
export class InitError extends Error {
  readonly id: string;
  /** The outputs that are known. */
  readonly outputs: Readonly<Record<string, unknown>>;
  constructor(id: string, outputs: Readonly<Record<string, unknown>>, reason: string, options?: ErrorOptions) {
    super(reason, options);
    this.id = id;
    this.outputs = outputs;
  }
}

/**
 * Why work ended early: the engine cancelled it, or the time was up. Has the code and text of Go's contexts, like the
 * answers of official plugins.
 */
export class ContextError extends Error {
  readonly reason: "cancelled" | "expired";
  constructor(reason: "cancelled" | "expired") {
    super(reason === "cancelled" ? "context canceled" : "context deadline exceeded");
    this.reason = reason;
  }
}

/** The program uses something that only the official plugin has. */
export function unknownToken(kind: string, token: string, known: Record<string, unknown>): Error {
  return new Error(
    `${token}: is not a ${kind} of the sandbox's stand-in plugin, which has: ${Object.keys(known).join(", ")}. Use one of these or the official plugin.`,
  );
}

/** An error's text for people. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Adds what failed before the message: `await pull().catch(failed("Unable to pull"))`. */
export function failed(doing: string): (error: unknown) => never {
  return (error) => {
    throw new Error(`${doing}: ${messageOf(error)}`, { cause: error });
  };
}

/**
 * Does the rest of a create after the resource exists; a failure becomes an InitError.
 *
 * @param known the outputs that are known
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
