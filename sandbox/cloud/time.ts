/** The current time in the API's form: ISO 8601 in UTC, whole seconds. */
export function timestamp(): string {
  return `${new Date().toISOString().slice(0, 19)}Z`;
}
