import { flushCompileCache } from "node:module";
import grpc from "@grpc/grpc-js";
import services from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import type { Plugin } from "./definition.ts";
import { Engine, watchEngine } from "./engine.ts";
import { ProviderServer } from "./server.ts";

/** The engine's limit for one message. */
const MAX_MESSAGE_BYTES = 400 * 1024 * 1024;

/**
 * Runs a plugin process: `pulumi-resource-<name> <engine address>` prints its port as the first line, and serves on it
 * until the engine interrupts it or no longer runs. In both cases, it first finishes its work.
 *
 * @param healthCheckMs how often to check for the engine; shorter in tests
 */
export function serve<Client>(plugin: Plugin<Client>, healthCheckMs?: number): void {
  const address = process.argv.slice(2).findLast((argument) => !argument.startsWith("-"));
  const server = new grpc.Server({
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
  });
  const provider = new ProviderServer(plugin, address === undefined ? undefined : new Engine(address));
  server.addService(services.ResourceProviderService, provider.implementation());
  // Nothing waits for an answer, because the engine closes its connection before it interrupts. A graceful shutdown of the
  // server could wait forever if both come at the same time.
  const stop = () => {
    void provider.idle().finally(() => process.exit());
  };
  process.once("SIGINT", stop);
  if (address !== undefined) watchEngine(address, stop, healthCheckMs);
  server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
    if (error) throw error;
    process.stdout.write(`${port}\n`);
    // Node writes its compile cache when it exits, but plugins are killed.
    flushCompileCache();
  });
}
