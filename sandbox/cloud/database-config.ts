/** A setting of a cluster's configuration that PostgreSQL has under the same name. */
type Setting = { default: number; least: number; most: number; unit?: string } | { default: string; values: string[] };

const DAY_MILLISECONDS = 86_400_000;

/** Those of the API's settings that are simulated, with PostgreSQL's defaults. */
export const DATABASE_SETTINGS: Record<string, Setting> = {
  autovacuum_analyze_scale_factor: { default: 0.1, least: 0, most: 1 },
  autovacuum_analyze_threshold: { default: 50, least: 0, most: 2147483647 },
  autovacuum_max_workers: { default: 3, least: 1, most: 20 },
  autovacuum_naptime: { default: 60, least: 1, most: 86400 },
  autovacuum_vacuum_cost_delay: { default: 2, least: -1, most: 100 },
  autovacuum_vacuum_cost_limit: { default: -1, least: -1, most: 10000 },
  autovacuum_vacuum_scale_factor: { default: 0.2, least: 0, most: 1 },
  autovacuum_vacuum_threshold: { default: 50, least: 0, most: 2147483647 },
  deadlock_timeout: { default: 1000, least: 500, most: 1_800_000 },
  default_toast_compression: { default: "pglz", values: ["lz4", "pglz"] },
  idle_in_transaction_session_timeout: { default: 0, least: 0, most: 7 * DAY_MILLISECONDS },
  log_autovacuum_min_duration: { default: 600_000, least: -1, most: 2147483647 },
  log_error_verbosity: { default: "DEFAULT", values: ["TERSE", "DEFAULT", "VERBOSE"] },
  log_min_duration_statement: { default: -1, least: -1, most: DAY_MILLISECONDS },
  max_connections: { default: 0, least: 25, most: 1000 },
  max_locks_per_transaction: { default: 64, least: 64, most: 6400 },
  max_parallel_workers: { default: 8, least: 0, most: 96 },
  max_parallel_workers_per_gather: { default: 2, least: 0, most: 96 },
  max_prepared_transactions: { default: 0, least: 0, most: 10000 },
  max_replication_slots: { default: 10, least: 8, most: 64 },
  max_slot_wal_keep_size: { default: -1, least: -1, most: 2147483647 },
  max_standby_streaming_delay: { default: 30_000, least: 1, most: DAY_MILLISECONDS / 2 },
  max_wal_senders: { default: 20, least: 20, most: 64 },
  max_worker_processes: { default: 8, least: 8, most: 96 },
  temp_file_limit: { default: -1, least: -1, most: 2147483647 },
  track_io_timing: { default: "off", values: ["off", "on"] },
  wal_sender_timeout: { default: 60_000, least: 0, most: 10_800_000 },
  work_mem: { default: 4, least: 1, most: 1024, unit: "MB" },
};

export type DatabaseConfig = Record<string, number | string>;

/** A cluster's configuration with the defaults of what was never set. */
export function configView(config: DatabaseConfig, maxConnections: number): DatabaseConfig {
  const defaults = Object.entries(DATABASE_SETTINGS).map(([name, setting]) => [name, setting.default]);
  return { ...(Object.fromEntries(defaults) as DatabaseConfig), max_connections: maxConnections, ...config };
}

/** A cluster's configuration as PostgreSQL's settings. */
export function postgresSettings(config: DatabaseConfig): Record<string, string> {
  return Object.fromEntries(
    Object.entries(config).map(([name, value]) => {
      const setting = DATABASE_SETTINGS[name];
      return [name, `${value}${(setting && "unit" in setting && setting.unit) || ""}`];
    }),
  );
}
