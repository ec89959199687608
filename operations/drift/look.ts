import { mintAdminKey } from "../../components/admin-key.ts";
import { fingerprint, SCRIPTS } from "../../components/scripts.ts";
import { compareCloud } from "./cloud.ts";
import { compareContainers } from "./containers.ts";
import { compareConvex } from "./convex.ts";
import type { Finding } from "./finding.ts";
import { type Inside, lookInside } from "./inside.ts";
import { compareMachine } from "./machine.ts";
import { compareNetworks } from "./networks.ts";
import { comparePostgres } from "./postgres.ts";
import type { Report } from "./report.ts";
import { State } from "./state.ts";

/**
 * Looks at a stack's cloud, through the engine, and at its droplet, over one SSH connection, at the same time; changes
 * neither.
 *
 * @throws Error when the stack's state cannot be read
 */
export async function look(stack: string): Promise<Report> {
  const cloud = settle(compareCloud(stack));
  const inside = settle(compareInside(stack));
  const parts = await Promise.all([cloud, inside]);
  return {
    stack,
    findings: parts.flatMap((part) => (part instanceof Error ? [] : part)),
    unknown: parts.flatMap((part) => (part instanceof Error ? [part.message] : [])),
  };
}

/** What could not be looked at must not hide what could. */
function settle<T>(promise: Promise<T>): Promise<T | Error> {
  return promise.catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))));
}

async function compareInside(stack: string): Promise<Finding[]> {
  const state = await State.read(stack);
  const droplet = state.get("digitalocean:index/droplet:Droplet", "convex-droplet");
  const target = {
    host: String(droplet.outputs["ipv4Address"]),
    privateKey: String(key(state, "convex-deploy-key")["privateKeyOpenssh"]),
    hostKey: String(key(state, "convex-host-key")["publicKeyOpenssh"]).trim(),
  };
  const inside = await lookInside(target, expected(state));
  for (const script of ["setup", "server", "scripts"]) {
    const { exitCode, text } = inside.facts.get(`check.${script}`) ?? { exitCode: 1, text: "" };
    if (exitCode !== 0)
      throw new Error(
        `the machine's script (${script}) could not look: ${exitCode === 124 ? "it took longer than 10 s. Is a run at work there?" : text.trim()}`,
      );
  }
  return compare(state, inside);
}

/** All that is seen inside, against all that is declared. Pure. */
export function compare(state: State, inside: Inside): Finding[] {
  return [
    ...compareMachine(state, inside),
    ...comparePostgres(state, inside),
    ...compareContainers(state, inside),
    ...compareNetworks(state, inside),
    ...compareConvex(state, inside),
  ];
}

/**
 * What machine/inspect.sh takes the machine's own scripts by: the very commands that set the machine up, as the state has
 * them, and how the backend and its role are reached.
 *
 * @throws Error when the stack was deployed with other scripts than this checkout has
 */
function expected(state: State): Record<string, string> {
  const backend = state.get("docker:index/container:Container", "convex-backend").inputs;
  const dashboard = state.get("docker:index/container:Container", "convex-dashboard").inputs;
  const variable = (name: string) =>
    (backend["envs"] as string[]).find((entry) => entry.startsWith(`${name}=`))?.slice(name.length + 1) ?? "";
  const port = (inputs: Record<string, unknown>, internal: number) =>
    (inputs["ports"] as { internal: number; external: number }[]).find((candidate) => candidate.internal === internal)
      ?.external;
  const readOnly = mintAdminKey(variable("INSTANCE_NAME"), variable("INSTANCE_SECRET"), { readOnly: true });
  const adminKey = String(state.get("command:remote:Command", "convex-acceptance").outputs["stdout"]).trim();
  return {
    ...script(state, "setup"),
    ...script(state, "server"),
    "role-url": `${variable("POSTGRES_URL")}\n`,
    backend: [port(backend, 3210), port(backend, 3211), port(dashboard, 6791), adminKey, readOnly].join("\n") + "\n",
  };
}

function script(state: State, name: string): Record<string, string> {
  const { inputs } = state.get("command:remote:Command", `convex-${name}`);
  const command = String(inputs["create"]);
  const deployed = command.slice(command.lastIndexOf("# ") + 2);
  if (deployed !== fingerprint()) {
    throw new Error(
      `the droplet was set up by other scripts (${deployed}) than this checkout has (${fingerprint()}). ` +
        `Check out what was deployed, or bring the droplet up to date: pulumi up --stack ${state.stack}`,
    );
  }
  return {
    // inspect.sh knows where the scripts are that came with it.
    [`${name}.command`]: `${command.replaceAll(SCRIPTS, '"$SCRIPTS"')}\n`,
    [`${name}.stdin`]: (inputs["stdin"] as string | undefined) ?? "",
  };
}

function key(state: State, name: string): Record<string, unknown> {
  return state.get("tls:index/privateKey:PrivateKey", name).outputs;
}
