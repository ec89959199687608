import type { DatabaseSpec } from "../hypervisor.ts";

/**
 * Makes the users with their present passwords. The administrator has what DigitalOcean gives: everything but the rights of
 * a superuser.
 */
export function accountsSql({ users }: DatabaseSpec): string {
  const statements = users.flatMap(({ name, password, mayReplicate }, index) => {
    const isAdministrator = index === 0;
    const further = isAdministrator
      ? "createdb createrole bypassrls replication"
      : mayReplicate
        ? "replication"
        : "noreplication";
    return [
      `do $$ begin create role ${identifier(name)}; exception when duplicate_object then null; end $$;`,
      `alter role ${identifier(name)} login ${further} password ${literal(password)};`,
      ...(isAdministrator ? [`grant pg_monitor, pg_signal_backend to ${identifier(name)} with admin option;`] : []),
    ];
  });
  // The server's log must not get a statement with a password.
  return ["set log_min_error_statement = panic;", ...statements].join("\n");
}

/** Makes a database of the administrator. */
export function databaseSql({ users: [administrator] }: DatabaseSpec, name: string): string {
  return `create database ${identifier(name)} owner ${identifier(administrator?.name ?? "")};`;
}

export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
