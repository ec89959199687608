import { mintAdminKey, readOnlyKeyBeside } from "../../components/admin-key.ts";
import { fingerprint, SCRIPTS } from "../../components/scripts.ts";
import type { State } from "../state.ts";
import { variables } from "./facts.ts";
import { pulumiCommand } from "../typed.ts";

/** Type of the resources that run scripts on the machine. */
export const COMMAND = "command:remote:Command";

/**
 * What machine/inspect.sh takes the machine's own scripts by: the very commands that set the machine up, as the state has
 * them, and how the backend and its role are reached.
 *
 * @throws Error when the stack was deployed with other scripts than this checkout has
 */
export function expected(state: State): Record<string, string> {
  const scripts = { ...script(state, "setup"), ...script(state, "server") };
  const backend = declaredBackend(state);
  if (backend === undefined) return scripts;
  const { variables, port } = backend;
  const [name, secret] = [variables.get("INSTANCE_NAME") ?? "", variables.get("INSTANCE_SECRET") ?? ""];
  const accepted = state.find(COMMAND, "convex-acceptance")?.outputs["stdout"] as string | undefined;
  const key = accepted?.trim() ?? mintAdminKey(name, secret);
  const keys = [key, readOnlyKeyBeside(key, name, secret) ?? ""];
  return {
    ...scripts,
    "role-url": `${variables.get("POSTGRES_URL") ?? ""}\n`,
    backend: `${[port(3210), port(3211), port(6791), ...keys].join("\n")}\n`,
  };
}

/** The variables of the backend's container, and the ports of the droplet by those in the containers. */
interface DeclaredBackend {
  variables: Map<string, string>;
  port: (internal: number) => number | undefined;
}

/** Undefined where the stack was not deployed that far. */
export function declaredBackend(state: State): DeclaredBackend | undefined {
  const type = "docker:index/container:Container";
  const backend = state.find(type, "convex-backend")?.inputs;
  if (backend === undefined) return undefined;
  const ports = [backend, state.find(type, "convex-dashboard")?.inputs].flatMap(
    (inputs) => (inputs?.["ports"] ?? []) as { internal: number; external: number }[],
  );
  return {
    variables: variables(backend["envs"] as string[]),
    port: (wanted) => ports.find(({ internal }) => internal === wanted)?.external,
  };
}

function script(state: State, name: string): Record<string, string> {
  const inputs = state.find(COMMAND, `convex-${name}`)?.inputs;
  if (inputs === undefined) return {};
  const command = String(inputs["create"]);
  const deployed = command.slice(command.lastIndexOf("# ") + 2);
  if (deployed !== fingerprint()) {
    throw new Error(
      `the droplet was set up by other scripts (${deployed}) than this checkout has (${fingerprint()}). ` +
        `Check out what was deployed, or bring the droplet up to date: ${pulumiCommand(state.stack, "up")}`,
    );
  }
  return {
    // inspect.sh knows where the scripts are that came with it.
    [`${name}.command`]: `${command.replaceAll(SCRIPTS, '"$SCRIPTS"')}\n`,
    [`${name}.stdin`]: (inputs["stdin"] as string | undefined) ?? "",
  };
}
