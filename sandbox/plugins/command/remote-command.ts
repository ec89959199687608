import type { Client } from "ssh2";
import { resource } from "../framework/definition.ts";
import type { Context, ValuesOf } from "../framework/definition.ts";
import { connection, withConnection } from "./connection.ts";
import { uniqueId } from "./id.ts";
import { acceptsEnv, run } from "./run.ts";
import type { Output } from "./run.ts";

const inputs = {
  connection,
  create: { type: "string" },
  /** If unset, an update runs `create` again. */
  update: { type: "string" },
  delete: { type: "string" },
  stdin: { type: "string" },
  environment: { type: "map", items: { type: "string" } },
  triggers: { type: "list", items: { type: "any" }, replaces: true },
  /** The streams shown while a command runs: `stdout`, `stderr`, `stdoutAndStderr` (default); with any other value, none. */
  logging: { type: "string" },
  /** True by default. */
  addPreviousOutputInEnv: { type: "boolean" },
} as const;

type Inputs = ValuesOf<typeof inputs>;

/**
 * A command on another computer. A change of an input runs `update`, or `create` without one. A changed trigger replaces
 * the resource: `create`, then the old one's `delete`. A refresh reads nothing, so it never finds a difference.
 */
export const remoteCommand = resource<undefined>()({
  inputs,
  outputs: {
    stdout: { type: "string", changesOnUpdate: true },
    stderr: { type: "string", changesOnUpdate: true },
  },
  create: async (context, inputs) => {
    const outputs = await runIfSet(context, inputs, inputs.create, NOTHING);
    return { id: uniqueId(context.name), outputs };
  },
  update: (context, { state }, inputs) => runIfSet(context, inputs, inputs.update ?? inputs.create, outputOf(state)),
  delete: async (context, { state, inputs }) => {
    await runIfSet(context, inputs, inputs.delete, outputOf(state));
  },
});

const NOTHING: Output = { stdout: "", stderr: "" };

function outputOf(state: { stdout?: string | undefined; stderr?: string | undefined }): Output {
  return { stdout: state.stdout ?? "", stderr: state.stderr ?? "" };
}

async function runIfSet(
  context: Context<undefined>,
  inputs: Inputs,
  command: string | undefined,
  previous: Output,
): Promise<Output> {
  if (command === undefined) return previous;
  return withConnection(context, inputs.connection, async (client) => {
    const env = {
      ...(await environment(context, client, inputs)),
      ...(await previousOutput(context, client, inputs, previous)),
    };
    return run(context, client, { command, stdin: inputs.stdin, env, logged: loggedStreams(inputs.logging) });
  });
}

/** The user's variables. It is an error if the server refuses one. */
async function environment(context: Context<undefined>, client: Client, inputs: Inputs) {
  const variables = inputs.environment ?? {};
  for (const [name, value] of Object.entries(variables)) {
    if (await acceptsEnv(client, name, value)) continue;
    context.log("error", refusal(name));
    throw new Error(`could not set environment variable ${JSON.stringify(name)}: ssh: setenv failed`);
  }
  return variables;
}

/** The output of the last run. If the server refuses a variable, there is only a warning. */
async function previousOutput(context: Context<undefined>, client: Client, inputs: Inputs, previous: Output) {
  const accepted: Record<string, string> = {};
  if (inputs.addPreviousOutputInEnv === false) return accepted;
  const variables = { PULUMI_COMMAND_STDOUT: previous.stdout, PULUMI_COMMAND_STDERR: previous.stderr };
  for (const [name, value] of Object.entries(variables)) {
    if (value === "") continue;
    if (await acceptsEnv(client, name, value)) accepted[name] = value;
    else context.log("warning", refusal(name));
  }
  return accepted;
}

function refusal(name: string): string {
  return `Unable to set '${name}': the SSH server does not accept it. Name it in AcceptEnv of sshd_config, or set it in the command itself.`;
}

function loggedStreams(logging: Inputs["logging"]): ReadonlySet<"stdout" | "stderr"> {
  switch (logging) {
    case "stdout":
    case "stderr":
      return new Set([logging]);
    case "stdoutAndStderr":
    case undefined:
      return new Set(["stdout", "stderr"]);
    default:
      return new Set();
  }
}
