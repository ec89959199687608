import type { handleUnaryCall, sendUnaryData, ServerUnaryCall, UntypedServiceImplementation } from "@grpc/grpc-js";
import pluginMessages from "@pulumi/pulumi/proto/plugin_pb.js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import type * as pb from "@pulumi/pulumi/proto/provider_pb.js";
import emptyMessages from "google-protobuf/google/protobuf/empty_pb.js";
import type { Empty } from "google-protobuf/google/protobuf/empty_pb.js";
import { npmVersion } from "../../engine/npm-version.ts";
import { checkProperties } from "./check.ts";
import { checkConfig, parseConfig, withDefaults } from "./config.ts";
import type { Plugin } from "./definition.ts";
import { diffProperties, withoutIgnored } from "./diff.ts";
import type { Engine } from "./engine.ts";
import { ContextError, InitError, unknownToken } from "./errors.ts";
import { OperationRunner } from "./operation.ts";
import { ResourceServer } from "./resources.ts";
import { checkFailure, checkResponse, diffResponse } from "./responses.ts";
import { plain } from "./state.ts";
import { initErrorStatus, plainErrorStatus } from "./status.ts";
import { containsUnknown, marshal, unmarshal } from "./values.ts";

/** The provider protocol (`pulumirpc.ResourceProvider`) for one plugin. */
export class ProviderServer<Client> {
  readonly #plugin: Plugin<Client>;
  readonly #runner: OperationRunner<Client>;
  readonly #calls = new Set<Promise<void>>();

  constructor(plugin: Plugin<Client>, engine: Engine | undefined) {
    this.#plugin = plugin;
    this.#runner = new OperationRunner(engine, plugin.kind);
  }

  /** Resolves when all work has ended. */
  async idle(): Promise<void> {
    while (this.#calls.size > 0) await Promise.allSettled(this.#calls);
  }

  /** The handlers for `grpc.Server.addService`. Absent methods answer UNIMPLEMENTED. */
  implementation(): UntypedServiceImplementation {
    const resources = new ResourceServer(this.#plugin, this.#runner);
    const unary = this.#unary.bind(this);
    return {
      handshake: unary(() => handshakeResponse()),
      getPluginInfo: unary(() => {
        const info = new pluginMessages.PluginInfo();
        info.setVersion(npmVersion(`@pulumi/${this.#plugin.name}`));
        return info;
      }),
      checkConfig: unary((request: pb.CheckRequest) => {
        const owner = `pulumi:providers:${this.#plugin.name}`;
        return checkResponse(checkConfig(this.#plugin.config, unmarshal(request.getNews()), owner));
      }),
      diffConfig: unary((request: pb.DiffRequest) => this.#diffConfig(request)),
      configure: unary((request: pb.ConfigureRequest) => this.#configure(request)),
      invoke: unary((request: pb.InvokeRequest, call) => this.#invoke(request, call)),
      check: unary((request: pb.CheckRequest) => resources.check(request)),
      diff: unary((request: pb.DiffRequest) => resources.diff(request)),
      create: unary((request: pb.CreateRequest, call) => resources.create(request, call)),
      read: unary((request: pb.ReadRequest, call) => resources.read(request, call)),
      update: unary((request: pb.UpdateRequest, call) => resources.update(request, call)),
      delete: unary((request: pb.DeleteRequest, call) => resources.delete(request, call)),
      cancel: unary((): Empty => {
        this.#runner.cancel();
        return new emptyMessages.Empty();
      }),
    };
  }

  /** No setting replaces the provider, because that would replace all its resources. */
  #diffConfig(request: pb.DiffRequest): pb.DiffResponse {
    const changes = diffProperties(
      this.#plugin.config,
      plain(unmarshal(request.getOldInputs())),
      plain(unmarshal(request.getNews())),
      { bridged: false },
    );
    const options = { ofInputs: true, detailed: true };
    return diffResponse(withoutIgnored(changes, request.getIgnorechangesList()), false, options);
  }

  async #configure(request: pb.ConfigureRequest): Promise<pb.ConfigureResponse> {
    const args = plain(unmarshal(request.getArgs()));
    // If settings are unknown, in a preview, the engine calls nothing that needs the client.
    if (!containsUnknown(args)) {
      const { config } = parseConfig(this.#plugin.config, args);
      this.#runner.use(await this.#plugin.configure(withDefaults(this.#plugin.config, config), config));
    }
    const response = new messages.ConfigureResponse();
    response.setAcceptsecrets(true);
    response.setAcceptresources(true);
    response.setAcceptoutputs(true);
    response.setSupportspreview(true);
    response.setSupportsAutonamingConfiguration(true);
    return response;
  }

  async #invoke(request: pb.InvokeRequest, call: AbortSignal): Promise<pb.InvokeResponse> {
    const token = request.getTok();
    const functions = this.#plugin.functions ?? {};
    const invokable = functions[token];
    if (!invokable) throw unknownToken("function", token, functions);
    const args = unmarshal(request.getArgs());
    const { inputs, failures } = checkProperties(invokable.inputs, args, {}, { owner: token, bridged: false });
    const response = new messages.InvokeResponse();
    response.setFailuresList(failures.map(checkFailure));
    if (failures.length > 0) return response;
    const operation = { urn: "", name: token, timeoutSeconds: 0, call };
    const result = await this.#runner.run(operation, (context) => invokable.call(context, plain(inputs)));
    response.setReturn(marshal(result));
    return response;
  }

  /** @param handler gets a signal that aborts if the engine cancels the call or dies */
  #unary<Request, Response>(
    handler: (request: Request, call: AbortSignal) => Response | Promise<Response>,
  ): handleUnaryCall<Request, Response> {
    return (call: ServerUnaryCall<Request, Response>, reply: sendUnaryData<Response>) => {
      const takenBack = new AbortController();
      call.on("cancelled", () => {
        takenBack.abort(new ContextError("cancelled"));
      });
      const work = (async () => {
        try {
          reply(null, await handler(call.request, takenBack.signal));
        } catch (error) {
          reply(error instanceof InitError ? initErrorStatus(error) : plainErrorStatus(error));
        }
      })();
      this.#calls.add(work);
      void work.finally(() => this.#calls.delete(work));
    };
  }
}

function handshakeResponse(): pb.ProviderHandshakeResponse {
  const response = new messages.ProviderHandshakeResponse();
  response.setAcceptSecrets(true);
  response.setAcceptResources(true);
  response.setAcceptOutputs(true);
  response.setSupportsAutonamingConfiguration(true);
  return response;
}
