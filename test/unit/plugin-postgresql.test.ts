import { expect, test } from "vitest";
import { database } from "../../sandbox/plugins/postgresql/database.ts";
import { grantId } from "../../sandbox/plugins/postgresql/grant-sql.ts";
import { grant } from "../../sandbox/plugins/postgresql/grant.ts";
import { postgresql } from "../../sandbox/plugins/postgresql/plugin.ts";
import { role } from "../../sandbox/plugins/postgresql/role.ts";
import { expectSdkArguments, expectSdkProperties } from "./plugin-declarations.ts";

test.each([
  ["database", "Database", database],
  ["grant", "Grant", grant],
  ["role", "Role", role],
])("%s has the properties of the npm SDK", (module, className, resource) => {
  expectSdkProperties(resource, "postgresql", module, className);
});

test("the provider has the arguments of the npm SDK", () => {
  expectSdkArguments(postgresql.config, "postgresql", "provider", "ProviderArgs");
});

test("a grant's id names its object", () => {
  const properties = { role: "reader", database: "shop", privileges: [], withGrantOption: false };
  expect(grantId({ ...properties, objectType: "database" })).toBe("reader_shop_database");
  expect(grantId({ ...properties, objectType: "schema", schema: "public" })).toBe("reader_shop_public_schema");
  expect(grantId({ ...properties, objectType: "table", schema: "public", objects: ["b", "a"] })).toBe(
    "reader_shop_public_table_a_b",
  );
});
