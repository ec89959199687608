/** An error that the client sees, as `{"code","message"}`. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }

  toResponse(): Response {
    return Response.json({ code: this.code, message: this.message }, { status: this.status });
  }
}

/** The error about a field that is missing, or has another type. */
export function missingField(name: string): ApiError {
  return new ApiError(
    400,
    "BadJsonBody",
    `Failed to deserialize the JSON body into the target type: missing field \`${name}\``,
  );
}
