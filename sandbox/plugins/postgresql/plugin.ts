import { unsupported, type Plugin } from "../framework/definition.ts";
import { database } from "./database.ts";
import { grant } from "./grant.ts";
import { role } from "./role.ts";
import { Server, type ServerSettings } from "./server.ts";

/** Stand-in for the plugin `postgresql`. */
export const postgresql: Plugin<Server> = {
  name: "postgresql",
  kind: "bridged",
  config: {
    host: { type: "string", env: ["PGHOST"], default: "localhost" },
    port: { type: "integer", env: ["PGPORT"], default: 5432 },
    database: { type: "string", env: ["PGDATABASE"], default: "postgres" },
    username: { type: "string", env: ["PGUSER"], default: "postgres" },
    password: { type: "string", secret: true, env: ["PGPASSWORD"] },
    databaseUsername: { type: "string" },
    sslmode: { type: "string", env: ["PGSSLMODE"], default: "require" },
    /** Path of a file with the certificates of trusted authorities. */
    sslrootcert: { type: "string" },
    superuser: { type: "boolean", env: ["PGSUPERUSER"], default: true },
    connectTimeout: { type: "integer", env: ["PGCONNECT_TIMEOUT"], default: 180 },
    maxConnections: { type: "integer", default: 20 },
    expectedVersion: { type: "string", default: "9.0.0" },
    scheme: { type: "string", values: ["postgres"], default: "postgres" },
    ...unsupported(
      "awsRdsIamAuth",
      "awsRdsIamProfile",
      "awsRdsIamProviderRoleArn",
      "awsRdsIamRegion",
      "azureIdentityAuth",
      "azureTenantId",
      "clientcert",
      "gcpIamImpersonateServiceAccount",
      "sslMode",
    ),
  },
  configure: (settings) => new Server(settings as unknown as ServerSettings),
  resources: {
    "postgresql:index/database:Database": database,
    "postgresql:index/grant:Grant": grant,
    "postgresql:index/role:Role": role,
  },
};
