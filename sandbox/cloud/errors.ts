import { STATUS_CODES } from "node:http";

/**
 * An answer of the API other than success. `id` is the short name the API gives each status, `message` is for people
 * and, where the real API's own text is known, exactly that text, since clients match on it.
 */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  readonly id: string;

  constructor(status: number, message: string, id = idOf(status)) {
    super(message);
    this.status = status;
    this.id = id;
  }
}

/** The API reference: "A short identifier corresponding to the HTTP status code returned", HTTP's own words but for 500. */
function idOf(status: number): string {
  const phrase = status === 500 ? "Server Error" : (STATUS_CODES[status] ?? "Server Error");
  return phrase.toLowerCase().replaceAll(/[^a-z]+/g, "_");
}

export const badRequest = (message: string) => new ApiError(400, message);
export const unauthorized = () => new ApiError(401, "Unable to authenticate you.");
export const notFound = () => new ApiError(404, "The resource you requested could not be found.");
export const conflict = (message: string) => new ApiError(409, message);
export const preconditionFailed = (message: string) => new ApiError(412, message);
export const unprocessable = (message: string) => new ApiError(422, message);
export const tooManyRequests = () => new ApiError(429, "API Rate limit exceeded.");

/** For what the real API offers and this one does not. Clients do not retry a 501, as they do other server errors. */
export const notSimulated = (what: string) =>
  new ApiError(501, `${what}: not part of the sandbox's cloud. See sandbox/README.md for what is.`, "not_simulated");
