/** Whether the Docker engine refused a request with this HTTP status: 404 absent, 409 conflict, 304 nothing to change. */
export function hasStatus(error: unknown, status: number): boolean {
  return error instanceof Error && "statusCode" in error && error.statusCode === status;
}

/** For `.catch()`: takes refusals with one of these statuses for success. */
export function tolerate(...statuses: number[]): (error: unknown) => undefined {
  return (error) => {
    if (!statuses.some((status) => hasStatus(error, status))) throw error;
  };
}
