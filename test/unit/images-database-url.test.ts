import { describe, expect, it } from "vitest";
import { databaseName, parseDatabaseUrl } from "../../sandbox/images/backend/database-url.ts";

describe("POSTGRES_URL", () => {
  it("is decoded, with the database from the instance's name", () => {
    expect(
      parseDatabaseUrl("postgres://us%40er:p%3Aw@host:5433/?options=-c%20search_path%3Da", "My-App-1", false),
    ).toEqual({
      host: "host",
      port: 5433,
      user: "us@er",
      password: "p:w",
      database: "My_App_1",
      tls: "prefer",
      options: "-c search_path=a",
    });
    expect(databaseName("convex-self-hosted")).toBe("convex_self_hosted");
  });

  it("may name a socket's directory", () => {
    expect(parseDatabaseUrl("postgresql://convex@%2Fvar%2Frun%2Fpostgresql", "a", true)).toEqual({
      host: "/var/run/postgresql",
      port: 5432,
      user: "convex",
      database: "a",
      tls: "require",
    });
  });

  it.each([
    [true, "", "require"],
    [true, "?sslmode=disable", "require"],
    [false, "", "prefer"],
    [false, "?sslmode=disable", "disable"],
    [false, "?sslmode=disable&sslmode=require", "require"],
  ])("TLS required: %s, URL: %j, means %s", (requireSsl, query, tls) => {
    expect(parseDatabaseUrl(`postgres://u@h${query}`, "a", requireSsl).tls).toBe(tls);
  });
});
