import type { Client, ClientChannel } from "ssh2";

/** How a command on a machine ended. */
export interface Ended {
  exitCode: number;
  stdout: string;
}

/** A command that runs on a machine. */
export interface Running {
  /** Its stdin and stdout. */
  channel: ClientChannel;
  /** Its exit code; rejects if the connection breaks. */
  ended: Promise<number>;
}

/**
 * Starts a command.
 *
 * @param stderr  where its stderr goes; by default, to this process's
 */
export async function startRemotely(
  client: Client,
  command: string,
  stderr: NodeJS.WritableStream = process.stderr,
): Promise<Running> {
  const channel = await new Promise<ClientChannel>((resolve, reject) => {
    client.exec(command, (error, opened) => {
      if (error) reject(error);
      else resolve(opened);
    });
  });
  channel.stderr.pipe(stderr, { end: false });
  const ended = new Promise<number>((resolve, reject) => {
    let exitCode: number | null = null;
    channel.once("exit", (code: number | null) => (exitCode = code));
    channel.once("close", () => {
      if (exitCode !== null) resolve(exitCode);
      else reject(new Error("the connection broke. What was started there goes on; run the command again to see it."));
    });
  });
  // Whoever waits for it gets the error; until then, it is not an unhandled one.
  ended.catch(() => undefined);
  return { channel, ended };
}

/** The end of a command, and what it prints from now on. */
export async function collect({ channel, ended }: Running): Promise<Ended> {
  const chunks: Buffer[] = [];
  channel.on("data", (chunk: Buffer) => chunks.push(chunk));
  return { exitCode: await ended, stdout: Buffer.concat(chunks).toString() };
}

/** Runs a command with this stdin, to its end. */
export async function runRemotely(
  client: Client,
  command: string,
  stdin = "",
  stderr?: NodeJS.WritableStream,
): Promise<Ended> {
  const running = await startRemotely(client, command, stderr);
  const result = collect(running);
  running.channel.end(stdin);
  return result;
}
