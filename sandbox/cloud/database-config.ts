/** A cluster's configuration, as PostgreSQL's settings. */
export function postgresSettings(config: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(Object.entries(config).map(([name, value]) => [name, String(value)]));
}
