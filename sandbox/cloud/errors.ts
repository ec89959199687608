/**
 * An answer of the API other than success. `id` is the short name the API gives each status, `message` is for people
 * and, where the real API's own text is known, exactly that text, since clients match on it.
 */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  readonly id: string;

  constructor(status: number, id: string, message: string) {
    super(message);
    this.status = status;
    this.id = id;
  }
}

export const unauthorized = () => new ApiError(401, "unauthorized", "Unable to authenticate you.");
export const notFound = () => new ApiError(404, "not_found", "The resource you requested could not be found.");
export const conflict = (message: string) => new ApiError(409, "conflict", message);
export const preconditionFailed = (message: string) => new ApiError(412, "precondition_failed", message);
export const unprocessable = (message: string) => new ApiError(422, "unprocessable_entity", message);
export const tooManyRequests = () => new ApiError(429, "too_many_requests", "API Rate limit exceeded.");

/** For what the real API offers and this one does not. Clients do not retry a 501, as they do other server errors. */
export const notSimulated = (what: string) =>
  new ApiError(501, "not_simulated", `${what}: not part of the sandbox's cloud. See sandbox/README.md for what is.`);
