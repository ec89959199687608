import { DATABASE_PORT, type DatabaseSpec } from "../hypervisor.ts";

/** Connections that only superusers can use; DigitalOcean reserves three for maintenance. */
const RESERVED_CONNECTIONS = 3;

/** The folder of a node, as the containers of its cluster see it. */
export function nodeFolder(node: number): string {
  return `/cluster/nodes/${node}`;
}

/** A node's postgresql.conf. A standby ignores what is only for a primary, and the other way round. */
export function postgresConf(cluster: DatabaseSpec, node: number, address: string): string {
  const [primary = node] = cluster.nodes;
  const settings: Record<string, string> = {
    listen_addresses: address,
    port: String(DATABASE_PORT),
    unix_socket_directories: nodeFolder(node),
    max_connections: String(cluster.maxConnections),
    superuser_reserved_connections: String(RESERVED_CONNECTIONS),
    ssl: "on",
    ssl_cert_file: "/cluster/tls/chain.crt",
    ssl_key_file: "/cluster/tls/server.key",
    ssl_min_protocol_version: "TLSv1.2",
    password_encryption: "scram-sha-256",
    // The default depends on the computer that made the image.
    dynamic_shared_memory_type: "mmap",
    min_wal_size: "32MB",
    wal_level: "logical",
    archive_mode: "on",
    archive_command: "cp %p /cluster/wal/%f.new && mv /cluster/wal/%f.new /cluster/wal/%f",
    ...(node !== primary && { primary_conninfo: `host=${nodeFolder(primary)} port=${DATABASE_PORT} user=_dodb` }),
    ...Object.fromEntries(["log_timezone", "timezone"].map((setting) => [setting, "UTC"])),
    ...Object.fromEntries(
      ["lc_messages", "lc_monetary", "lc_numeric", "lc_time"].map((setting) => [setting, "en_US.UTF-8"]),
    ),
    ...cluster.settings,
  };
  return Object.entries(settings)
    .map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`)
    .join("");
}

/**
 * Who may connect, beyond the packet filter: over TLS and with a password. The sandbox itself uses the socket, which only
 * the nodes' containers have.
 */
export const PG_HBA_CONF = [
  "local all _dodb trust",
  "local replication _dodb trust",
  "hostssl all _dodb all reject",
  "hostssl all all all scram-sha-256",
  "hostssl replication all all scram-sha-256",
  "",
].join("\n");
