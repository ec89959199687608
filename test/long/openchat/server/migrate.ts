import pg from "pg";

import { configurationOf, migrations } from "./database.ts";

/** Migrates the database. All migrations are tried in the empty shadow first, so that a wrong one changes nothing. */
async function inDatabase(variable: string, act: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client(configurationOf(variable));
  await client.connect();
  try {
    await act(client);
  } finally {
    await client.end();
  }
}

try {
  await inDatabase("SHADOW_DATABASE_URL", async (shadow) => {
    await shadow.query("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    for (const { number, sql } of migrations()) {
      await shadow.query(sql).catch((error: unknown) => {
        throw new Error(`migration ${number} fails in the shadow, so the database stays as it is: ${String(error)}`);
      });
    }
  });
  await inDatabase("DATABASE_URL", async (database) => {
    await database.query("CREATE TABLE IF NOT EXISTS migrations (number int PRIMARY KEY)");
    for (const { number, sql } of migrations()) {
      await database.query("BEGIN; LOCK TABLE migrations");
      const { rowCount } = await database.query("SELECT FROM migrations WHERE number = $1", [number]);
      if (rowCount === 0) {
        await database.query(sql);
        await database.query("INSERT INTO migrations VALUES ($1)", [number]);
        console.log(`migration ${number} done`);
      }
      await database.query("COMMIT");
    }
  });
} catch (error) {
  console.error(String(error));
  process.exit(1);
}
