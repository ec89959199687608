import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

import { valueOf } from "../contract/value-of.ts";
import { type Connection, type RunLogged, runScript, targetOf } from "./machine.ts";

/**
 * Tries another backend image on a copy of the data, while the backend that serves is still there.
 *
 * A backend's container may also be created in a later run than its rehearsal: the run between them failed, or somebody has removed the
 * container. So a guard before its creation repeats it, unless the rehearsal belongs to the same run.
 */
export class Rehearsal {
  /** The backend's container depends on it. */
  readonly resource: command.remote.Command;
  /** For the `beforeCreate` of the backend's container. It fails if the image does not pass. */
  readonly guard: pulumi.ResourceHook;

  /**
   * @param image  another one starts a rehearsal
   * @param values  those of machine/convex/rehearse.sh
   * @param runLogged  runs it from the guard
   */
  constructor(
    name: string,
    connection: Connection,
    image: string,
    values: Parameters<typeof runScript>[1],
    runLogged: RunLogged,
    opts: pulumi.CustomResourceOptions,
  ) {
    let isDone = false;
    const done = new pulumi.ResourceHook(`${name}-rehearsed`, () => {
      isDone = true;
    });
    const script = runScript("convex/rehearse.sh", values);
    this.resource = new command.remote.Command(
      `${name}-rehearsal`,
      {
        connection,
        ...script,
        triggers: [image],
        logging: command.remote.Logging.Stderr,
        addPreviousOutputInEnv: false,
      },
      {
        ...opts,
        customTimeouts: { create: "4h", update: "4h" },
        hooks: { ...opts.hooks, afterCreate: [done], afterUpdate: [done] },
      },
    );
    this.guard = new pulumi.ResourceHook(`${name}-rehearsal-guard`, async () => {
      if (isDone) return;
      await runLogged(await targetOf(connection), script.create, await valueOf(script.stdin));
    });
  }
}
