import { StringDecoder } from "node:string_decoder";
import { promisify } from "node:util";
import type { Client, ClientChannel } from "ssh2";
import type { Context } from "../framework/definition.ts";

/** A process's output, each stream without its last newline. */
export interface Output {
  stdout: string;
  stderr: string;
}

export interface Execution {
  command: string;
  stdin: string | undefined;
  env: Record<string, string>;
  /** The streams shown while the command runs. */
  logged: ReadonlySet<"stdout" | "stderr">;
}

/** Runs a command. A failure quotes the command and its whole output, as in the official plugin. */
export async function run(context: Context<undefined>, client: Client, execution: Execution): Promise<Output> {
  const { command, env, logged } = execution;
  const channel = await new Promise<ClientChannel>((resolve, reject) => {
    client.exec(command, { env }, (error, opened) => {
      if (error) reject(error);
      else resolve(opened);
    });
  });
  const lines = new LineLog((line) => {
    context.log("info", line, { status: true });
  });
  const output = { stdout: "", stderr: "" };
  let combined = "";
  for (const name of ["stdout", "stderr"] as const) {
    const decoder = new StringDecoder("utf8");
    (name === "stdout" ? channel : channel.stderr).on("data", (chunk: Buffer) => {
      const text = decoder.write(chunk);
      output[name] += text;
      combined += text;
      if (logged.has(name)) lines.write(text);
    });
  }
  const ended = new Promise<string | undefined>((resolve) => {
    let problem: string | undefined = "wait: remote command exited without exit status or exit signal";
    channel.on("exit", (code: number | null, signal?: string) => {
      problem = code === 0 ? undefined : exitMessage(code, signal);
    });
    channel.on("close", () => {
      resolve(problem);
    });
  });
  // A command may end without reading its input.
  channel.on("error", () => undefined);
  channel.end(execution.stdin ?? "");
  const problem = await ended;
  lines.end();
  if (problem !== undefined) throw new Error(`${problem}: running ${JSON.stringify(command)}:\n${combined}`);
  return { stdout: output.stdout.replace(/\n$/, ""), stderr: output.stderr.replace(/\n$/, "") };
}

/**
 * Whether the server accepts an environment variable (sshd's `AcceptEnv`). ssh2 only reports it for SFTP channels; with
 * `exec` it sends variables and ignores the answer.
 */
export async function acceptsEnv(client: Client, name: string, value: string): Promise<boolean> {
  type Sftp = (env: Record<string, string>, callback: (error: Error | undefined) => void) => void;
  try {
    await promisify((client.sftp as unknown as Sftp).bind(client))({ [name]: value });
    return true;
  } catch (error) {
    // If there is no SFTP server, the variable was accepted before the channel failed.
    return !(error instanceof Error && error.message === "Unable to set environment");
  }
}

function exitMessage(code: number | null, signal: string | undefined): string {
  return code === null ? `Process exited from signal ${signal ?? "unknown"}` : `Process exited with status ${code}`;
}

/** Splits a stream into lines. */
class LineLog {
  readonly #show: (line: string) => void;
  #rest = "";

  constructor(show: (line: string) => void) {
    this.#show = show;
  }

  write(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    lines.forEach(this.#show);
  }

  end(): void {
    if (this.#rest !== "") this.#show(this.#rest);
  }
}
