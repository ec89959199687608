import { mintAdminKey, readOnlyKeyBeside } from "../../contract/admin-key.ts";
import { fingerprint, itemsIn, namedValues, valueIn } from "../../contract/scripts.ts";
import type { State } from "../state.ts";
import { variables } from "./facts.ts";
import { pulumiCommand } from "../../contract/commands.ts";
import { CONTAINERS, databaseName, PORTS, RESOURCES, ROLES, TYPES } from "../../contract/names.ts";

/** The scripts that machine/inspect.sh runs in check mode, by their areas, and the resources that run them. */
export const CHECKED: Record<string, string> = {
  host: RESOURCES.setup,
  postgres: RESOURCES.server,
  managed: RESOURCES.databaseClient,
  edge: RESOURCES.edge,
  apps: RESOURCES.apps,
  buckets: RESOURCES.buckets,
  backups: RESOURCES.backups,
};

/**
 * The values for machine/inspect.sh: those that the machine's scripts were last run with, from the state, and those for
 * queries to the backend and a log-in as its role.
 *
 * @throws Error if the stack was deployed with other scripts than this checkout has
 */
export function expected(state: State): Record<string, string> {
  const other = isManaged(state) ? RESOURCES.server : RESOURCES.databaseClient;
  const scripts = Object.fromEntries(
    Object.entries(CHECKED).flatMap(([area, resource]) => {
      if (resource === other) return [];
      const values = valuesOf(state, resource);
      return values === undefined ? [] : [[area, values]];
    }),
  );
  const backend = declaredBackend(state);
  if (backend === undefined) return scripts;
  const { variables, port } = backend;
  const [name, secret] = [variables.get("INSTANCE_NAME") ?? "", variables.get("INSTANCE_SECRET") ?? ""];
  const accepted = state.find(TYPES.command, RESOURCES.acceptance)?.outputs["stdout"] as string | undefined;
  const key = accepted?.trim() ?? mintAdminKey(name, secret);
  return {
    ...scripts,
    backend: namedValues({
      container: CONTAINERS.backend,
      api_port: port(PORTS.api) ?? "",
      site_port: port(PORTS.site) ?? "",
      dashboard_port: port(PORTS.dashboard) ?? "",
      key,
      read_only_key: readOnlyKeyBeside(key, name, secret) ?? "",
      role: ROLES.owner,
      database: databaseName(name),
      role_url: variables.get("POSTGRES_URL") ?? "",
    }),
  };
}

/** The variables of the backend's container, and the droplet's port for each port in the containers. */
interface DeclaredBackend {
  variables: Map<string, string>;
  port: (internal: number) => number | undefined;
}

/** Undefined if the stack does not have a backend yet. */
export function declaredBackend(state: State): DeclaredBackend | undefined {
  const type = TYPES.container;
  const backend = state.find(type, RESOURCES.backend)?.inputs;
  if (backend === undefined) return undefined;
  const ports = [backend, state.find(type, RESOURCES.dashboard)?.inputs].flatMap(
    (inputs) => (inputs?.["ports"] ?? []) as { internal: number; external: number }[],
  );
  return {
    variables: variables(backend["envs"] as string[]),
    port: (wanted) => ports.find(({ internal }) => internal === wanted)?.external,
  };
}

/** The server with the buckets that a stack's backend keeps its files in; undefined if they are on the volume. */
export function bucketServer(state: State): string | undefined {
  const variables = declaredBackend(state)?.variables;
  if ((variables?.get("S3_STORAGE_FILES_BUCKET") ?? "") === "") return undefined;
  return (variables?.get("S3_ENDPOINT_URL") ?? "").replace("https://", "");
}

/** The names that a stack serves. */
export interface DeclaredEdge {
  hosts: string[];
  /** The address that they lead to. */
  address: string;
  /** Whether proxies are in front of the droplet. Then the names lead to those. */
  hasProxies: boolean;
}

/** Undefined without names. */
export function declaredEdge(state: State): DeclaredEdge | undefined {
  const stdin = (state.find(TYPES.command, RESOURCES.edge)?.inputs["stdin"] ?? "") as string;
  const hosts = ["api_host", "site_host", "dashboard_host", "app_hosts"]
    .flatMap((name) => itemsIn(stdin, name))
    .filter((host) => host !== "");
  if (hosts.length === 0) return undefined;
  return { hosts, address: valueIn(stdin, "address"), hasProxies: valueIn(stdin, "trusted_proxies") !== "" };
}

/** When the droplet may reboot for an update: HH:MM in UTC, or never. */
export function rebootTime(state: State): string {
  return valueIn((state.find(TYPES.command, RESOURCES.setup)?.inputs["stdin"] ?? "") as string, "reboot_time");
}

/**
 * Whether a stack's database is a managed one, and not on the droplet. Until a move is confirmed, there is a cluster in both cases; and if
 * the run of the move did not come to its end, there are both scripts. Then the provider has followed the one that came last.
 */
export function isManaged(state: State): boolean {
  const [client, server] = [RESOURCES.databaseClient, RESOURCES.server].map((name) => state.find(TYPES.command, name));
  if (server === undefined) return state.find(TYPES.cluster, RESOURCES.cluster) !== undefined;
  if (client === undefined) return false;
  return state.find(TYPES.postgresql, RESOURCES.postgresql)?.inputs["superuser"] === "false";
}

/**
 * For commands that work on the droplet's own server.
 *
 * @param instead  a sentence about what does the same for a managed one
 * @throws Error if the stack's database is managed
 */
export function requireOwnServer(state: State, command: string, instead: string): void {
  if (!isManaged(state)) return;
  throw new Error(
    `stack ${state.stack}: its database is managed, ${command} needs one on the droplet. Nothing was changed. ${instead}; see docs/managed-database.md`,
  );
}

/** Whether a stack was deployed with backups. Undefined if its deployment did not come so far. */
export function hasBackups(state: State): boolean | undefined {
  const stdin = state.find(TYPES.command, RESOURCES.backups)?.inputs["stdin"] as string | undefined;
  return stdin === undefined ? undefined : valueIn(stdin, "repository_endpoint") !== "";
}

/** The values that a resource last ran its script with; undefined if it was not deployed yet. */
function valuesOf(state: State, resource: string): string | undefined {
  const inputs = state.find(TYPES.command, resource)?.inputs;
  if (inputs === undefined) return undefined;
  const command = String(inputs["create"]);
  const deployed = command.slice(command.lastIndexOf("# ") + 2);
  if (deployed !== fingerprint()) {
    throw new Error(
      `the droplet was set up by other scripts (${deployed}) than this checkout has (${fingerprint()}). ` +
        `Check out the deployed version, or update the droplet: ${pulumiCommand(state.stack, "up")}`,
    );
  }
  return String(inputs["stdin"]);
}
