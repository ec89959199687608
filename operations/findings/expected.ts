import { mintAdminKey, readOnlyKeyBeside } from "../../contract/admin-key.ts";
import { fingerprint, namedValues } from "../../contract/scripts.ts";
import type { State } from "../state.ts";
import { variables } from "./facts.ts";
import { pulumiCommand } from "../typed.ts";
import { CONTAINERS, PORTS, RESOURCES, TYPES } from "../../contract/names.ts";

/**
 * The values for machine/inspect.sh: those that the machine's scripts were last run with, from the state, and those for
 * queries to the backend and a log-in as its role.
 *
 * @throws Error if the stack was deployed with other scripts than this checkout has
 */
export function expected(state: State): Record<string, string> {
  const scripts = { ...values(state, RESOURCES.setup, "host"), ...values(state, RESOURCES.server, "postgres") };
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

/** The values that a script was last run with, by the script's name. */
function values(state: State, resource: string, script: string): Record<string, string> {
  const inputs = state.find(TYPES.command, resource)?.inputs;
  if (inputs === undefined) return {};
  const command = String(inputs["create"]);
  const deployed = command.slice(command.lastIndexOf("# ") + 2);
  if (deployed !== fingerprint()) {
    throw new Error(
      `the droplet was set up by other scripts (${deployed}) than this checkout has (${fingerprint()}). ` +
        `Check out the deployed version, or update the droplet: ${pulumiCommand(state.stack, "up")}`,
    );
  }
  return { [script]: String(inputs["stdin"]) };
}
