import { identifier, type Server, type Session } from "./server.ts";

/**
 * Does work that only members of the given roles may do. A user who is not a superuser is made a member until the work is
 * complete.
 */
export async function asMemberOf<T>(
  server: Server,
  session: Session,
  roles: string[],
  work: () => Promise<T>,
): Promise<T> {
  // Since PostgreSQL 16, a user is a member of the roles that it has made, but may not act for them.
  const privilege = (await server.version(session)) >= 16 ? "SET" : "MEMBER";
  const missing = await session.query<{ rolname: string }>(
    `SELECT rolname FROM pg_catalog.pg_roles
     WHERE rolname = ANY($1) AND NOT pg_has_role($2, oid, $3)
     ORDER BY rolname`,
    [roles, server.user, privilege],
  );
  for (const { rolname } of missing) {
    await session.query(`GRANT ${identifier(rolname)} TO ${identifier(server.user)}`);
  }
  const revoke = async (): Promise<void> => {
    for (const { rolname } of missing) {
      // The work may have dropped the role with its memberships.
      const [still] = await session.query("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1", [rolname]);
      if (still !== undefined) await session.query(`REVOKE ${identifier(rolname)} FROM ${identifier(server.user)}`);
    }
  };
  try {
    const result = await work();
    await revoke();
    return result;
  } catch (error) {
    // A failed transaction accepts no statement, and needs none, because it is rolled back.
    await revoke().catch(() => undefined);
    throw error;
  }
}
