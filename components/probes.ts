import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

import { appResource } from "../contract/names.ts";
import type { AppSettings } from "../settings/apps.ts";
import type { Lifetime } from "./host.ts";
import { type Connection, runScript } from "./machine.ts";

export interface ProbesArgs {
  /** Connection to the machine that the container runs on, which asks it. */
  connection: Connection;
  /** Changing its probes, its port or its first host asks again. */
  app: AppSettings;
  /** The app's container. Another version asks again. */
  container: pulumi.Input<string>;
  /** What leads requests to this version. */
  after: pulumi.Resource;
  /** Lifetime of the scripts' runs. */
  onMachine: Lifetime;
}

/** Asks a new version of an app what its probes say. Ready: it has answered so, for as long as it has to. */
export function runProbes(name: string, args: ProbesArgs, child: pulumi.CustomResourceOptions): command.remote.Command {
  const { app, onMachine } = args;
  return new command.remote.Command(
    `${appResource(name, app.name)}-probes`,
    {
      connection: args.connection,
      ...runScript("apps/probes.sh", {
        app: app.name,
        container: args.container,
        host: app.hosts[0] ?? "",
        port: app.port ?? "",
        probes: app.probes.map((probe) =>
          [probe.name, probe.status, probe.withinSeconds, probe.holdSeconds, probe.path, probe.json ?? ""].join(" "),
        ),
      }),
      addPreviousOutputInEnv: false,
    },
    {
      ...child,
      ...onMachine,
      customTimeouts: { create: "2h", update: "2h" },
      dependsOn: [...([onMachine.dependsOn ?? []].flat() as pulumi.Resource[]), args.after],
    },
  );
}
