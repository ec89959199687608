import { STATUS_CODES } from "node:http";

/**
 * An error answer of the API. `id` is the API's short name for the status. `message` is for people; if the text of the
 * real API is known, it is exactly that text, because clients match on it.
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

/** The API reference: "A short identifier corresponding to the HTTP status code returned". HTTP's words, except for 500. */
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

/** For a part of the real API that is not simulated. Clients retry other server errors, but not a 501. */
export const notSimulated = (what: string) =>
  new ApiError(501, `${what}: not simulated by the sandbox. See sandbox/README.md for what is.`, "not_simulated");
