import { createRequire } from "node:module";
import type { handleUnaryCall, sendUnaryData, ServerUnaryCall, UntypedServiceImplementation } from "@grpc/grpc-js";
import pluginMessages from "@pulumi/pulumi/proto/plugin_pb.js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import type * as pb from "@pulumi/pulumi/proto/provider_pb.js";
import emptyMessages from "google-protobuf/google/protobuf/empty_pb.js";
import type { Empty } from "google-protobuf/google/protobuf/empty_pb.js";
import { checkProperties } from "./check.ts";
import type { Naming } from "./check.ts";
import { checkConfig, parseConfig } from "./config.ts";
import type { Resource, Change, Context, Existing, Failure, Plugin } from "./definition.ts";
import { deletesFirst, diffProperties, topLevel, withoutIgnored } from "./diff.ts";
import type { Engine } from "./engine.ts";
import { InitError } from "./errors.ts";
import { inputsAfterRead, plain, stateAfter, stateOfPlannedCreate, stateOfPlannedUpdate } from "./state.ts";
import { initErrorStatus, plainErrorStatus } from "./status.ts";
import { containsUnknown, marshal, unmarshal } from "./values.ts";
import type { PropertyBag } from "./values.ts";

/** The provider protocol (`pulumirpc.ResourceProvider`) for one plugin. */
export class ProviderServer<Client> {
  readonly #plugin: Plugin<Client>;
  readonly #engine: Engine | undefined;
  readonly #bridged: boolean;
  readonly #cancelled = new AbortController();
  #client: Promise<Client> | undefined;

  constructor(plugin: Plugin<Client>, engine: Engine | undefined) {
    this.#plugin = plugin;
    this.#engine = engine;
    this.#bridged = plugin.kind === "bridged";
  }

  /** The handlers, for `grpc.Server.addService`. Methods that are absent answer UNIMPLEMENTED. */
  implementation(): UntypedServiceImplementation {
    return {
      handshake: unary<pb.ProviderHandshakeRequest, pb.ProviderHandshakeResponse>(() => {
        const response = new messages.ProviderHandshakeResponse();
        response.setAcceptSecrets(true);
        response.setAcceptResources(true);
        response.setAcceptOutputs(true);
        response.setSupportsAutonamingConfiguration(true);
        return response;
      }),
      getPluginInfo: unary(() => {
        const info = new pluginMessages.PluginInfo();
        info.setVersion(packageVersion(this.#plugin.name));
        return info;
      }),
      checkConfig: unary<pb.CheckRequest, pb.CheckResponse>((request) => {
        const owner = `pulumi:providers:${this.#plugin.name}`;
        return checkResponse(checkConfig(this.#plugin.config, unmarshal(request.getNews()), owner));
      }),
      diffConfig: unary<pb.DiffRequest, pb.DiffResponse>((request) => this.#diffConfig(request)),
      configure: unary<pb.ConfigureRequest, pb.ConfigureResponse>((request) => this.#configure(request)),
      invoke: unary<pb.InvokeRequest, pb.InvokeResponse>((request) => this.#invoke(request)),
      check: unary<pb.CheckRequest, pb.CheckResponse>((request) => this.#check(request)),
      diff: unary<pb.DiffRequest, pb.DiffResponse>((request) => this.#diff(request)),
      create: unary<pb.CreateRequest, pb.CreateResponse>((request) => this.#create(request)),
      read: unary<pb.ReadRequest, pb.ReadResponse>((request) => this.#read(request)),
      update: unary<pb.UpdateRequest, pb.UpdateResponse>((request) => this.#update(request)),
      delete: unary<pb.DeleteRequest, Empty>((request) => this.#delete(request)),
      cancel: unary<Empty, Empty>(() => {
        this.#cancelled.abort(new Error("cancelled"));
        return new emptyMessages.Empty();
      }),
    };
  }

  /** Settings of the provider never replace it, which would replace all its resources. */
  #diffConfig(request: pb.DiffRequest): pb.DiffResponse {
    const changes = diffProperties(
      this.#plugin.config,
      plain(unmarshal(request.getOldInputs())),
      plain(unmarshal(request.getNews())),
      { bridged: false },
    );
    return diffResponse(withoutIgnored(changes, request.getIgnorechangesList()), false, true);
  }

  #configure(request: pb.ConfigureRequest): pb.ConfigureResponse {
    const args = plain(unmarshal(request.getArgs()));
    // With unknown settings, in a preview, the engine calls nothing that needs the client.
    if (!containsUnknown(args)) {
      const { config } = parseConfig(this.#plugin.config, args);
      this.#client = Promise.resolve(this.#plugin.configure(config));
      // A failure belongs to the operations that need the client.
      this.#client.catch(() => undefined);
    }
    const response = new messages.ConfigureResponse();
    response.setAcceptsecrets(true);
    response.setAcceptresources(true);
    response.setAcceptoutputs(true);
    response.setSupportspreview(true);
    response.setSupportsAutonamingConfiguration(true);
    return response;
  }

  async #invoke(request: pb.InvokeRequest): Promise<pb.InvokeResponse> {
    const token = request.getTok();
    const invokable = this.#plugin.functions?.[token];
    if (!invokable) throw unknownToken("function", token, this.#plugin.functions ?? {});
    const args = unmarshal(request.getArgs());
    const { inputs, failures } = checkProperties(invokable.inputs, args, {}, { owner: token, bridged: false });
    const response = new messages.InvokeResponse();
    response.setFailuresList(failures.map(checkFailure));
    if (failures.length > 0) return response;
    const operation = { urn: "", name: token, timeoutSeconds: 0 };
    const result = await this.#run(operation, (context) => invokable.call(context, plain(inputs)));
    response.setReturn(marshal(result));
    return response;
  }

  #check(request: pb.CheckRequest): pb.CheckResponse {
    const { type, resource } = this.#resource(request.getUrn());
    const checked = checkProperties(resource.inputs, unmarshal(request.getNews()), unmarshal(request.getOlds()), {
      owner: type,
      bridged: this.#bridged,
      naming: naming(request),
    });
    if (checked.failures.length === 0) checked.failures.push(...(resource.check?.(plain(checked.inputs)) ?? []));
    return checkResponse(checked);
  }

  #diff(request: pb.DiffRequest): pb.DiffResponse {
    const { resource } = this.#resource(request.getUrn());
    const olds = plain(unmarshal(this.#bridged ? request.getOlds() : request.getOldInputs()));
    const news = unmarshal(request.getNews());
    const changes = this.#changes(resource, olds, plain(news), request.getIgnorechangesList());
    return diffResponse(changes, deletesFirst(resource, news), !this.#bridged);
  }

  #changes(resource: Resource<Client>, olds: PropertyBag, news: PropertyBag, ignored: readonly string[]): Change[] {
    const found = diffProperties(resource.inputs, olds, news, { bridged: this.#bridged });
    return withoutIgnored(resource.diff?.(found, olds, news) ?? found, ignored);
  }

  async #create(request: pb.CreateRequest): Promise<pb.CreateResponse> {
    const { resource } = this.#resource(request.getUrn());
    const inputs = unmarshal(request.getProperties());
    const response = new messages.CreateResponse();
    if (request.getPreview()) {
      response.setProperties(marshal(stateOfPlannedCreate(resource, inputs)));
      return response;
    }
    const created = await this.#run(operationOf(request), (context) =>
      completing(resource, inputs, () => resource.create(context, plain(inputs))),
    );
    response.setId(created.id);
    response.setProperties(marshal(stateAfter(resource, inputs, created.outputs)));
    return response;
  }

  async #read(request: pb.ReadRequest): Promise<pb.ReadResponse> {
    const { resource } = this.#resource(request.getUrn());
    const state = unmarshal(request.getProperties());
    const inputs = unmarshal(request.getInputs());
    const response = new messages.ReadResponse();
    const read = resource.read;
    if (!read) {
      response.setId(request.getId());
      response.setProperties(request.getProperties());
      response.setInputs(request.getInputs());
      return response;
    }
    const existing = existingOf(request.getId(), state, inputs);
    const found = await this.#run(operationOf(request), (context) => read(context, existing));
    if (!found) return response;
    const live = { ...plain(state), ...found };
    response.setId(request.getId());
    response.setInputs(marshal(inputsAfterRead(resource, inputs, live, { bridged: this.#bridged })));
    response.setProperties(marshal(stateAfter(resource, state, found)));
    return response;
  }

  async #update(request: pb.UpdateRequest): Promise<pb.UpdateResponse> {
    const { type, resource } = this.#resource(request.getUrn());
    const state = unmarshal(request.getOlds());
    const oldInputs = unmarshal(request.getOldInputs());
    const inputs = unmarshal(request.getNews());
    const response = new messages.UpdateResponse();
    if (request.getPreview()) {
      response.setProperties(marshal(stateOfPlannedUpdate(resource, state, inputs)));
      return response;
    }
    const update = resource.update;
    if (!update) throw new Error(`${type}: has no property that can change in place, the change must replace it.`);
    const before = plain(this.#bridged ? state : oldInputs);
    const changes = this.#changes(resource, before, plain(inputs), request.getIgnorechangesList());
    const changed = new Set(changes.map(({ path }) => topLevel(path)));
    const existing = existingOf(request.getId(), state, oldInputs);
    const outputs = await this.#run(operationOf(request), (context) =>
      completing(resource, inputs, () => update(context, existing, plain(inputs), changed)),
    );
    response.setProperties(marshal(stateAfter(resource, inputs, outputs)));
    return response;
  }

  async #delete(request: pb.DeleteRequest): Promise<Empty> {
    const { resource } = this.#resource(request.getUrn());
    const existing = existingOf(request.getId(), unmarshal(request.getProperties()), unmarshal(request.getOldInputs()));
    const remove = resource.delete;
    if (remove) await this.#run(operationOf(request), (context) => remove(context, existing));
    return new emptyMessages.Empty();
  }

  #resource(urn: string): { type: string; resource: Resource<Client> } {
    const type = typeOf(urn);
    const resource = this.#plugin.resources[type];
    if (!resource) throw unknownToken("resource type", type, this.#plugin.resources);
    return { type, resource };
  }

  async #run<Result>(operation: Operation, body: (context: Context<Client>) => Promise<Result>): Promise<Result> {
    const { urn, name, timeoutSeconds } = operation;
    if (!this.#client)
      throw new Error(`${this.#plugin.name}: the provider is not configured, Configure must come first.`);
    const timeout = new AbortController();
    const timer =
      timeoutSeconds > 0
        ? setTimeout(() => {
            timeout.abort(new Error(`timeout: the operation is not done after ${timeoutSeconds} seconds`));
          }, timeoutSeconds * 1000)
        : undefined;
    const signal = AbortSignal.any([this.#cancelled.signal, timeout.signal]);
    try {
      const client = await this.#client;
      signal.throwIfAborted();
      return await body({
        client,
        urn,
        name,
        signal,
        timeoutSeconds: timeoutSeconds > 0 ? timeoutSeconds : undefined,
        log: (severity, message, options) => this.#engine?.log(severity, message, urn, options?.status ?? false),
      });
    } finally {
      clearTimeout(timer);
      await this.#engine?.flushed();
    }
  }
}

interface Operation {
  urn: string;
  name: string;
  timeoutSeconds: number;
}

function operationOf(request: pb.CreateRequest | pb.ReadRequest | pb.UpdateRequest | pb.DeleteRequest): Operation {
  const timeoutSeconds = "getTimeout" in request ? request.getTimeout() : 0;
  return { urn: request.getUrn(), name: nameOf(request.getUrn()), timeoutSeconds };
}

/** Gives an InitError the rest of the state, which only the framework knows. */
async function completing<Result>(
  resource: Resource<never>,
  inputs: PropertyBag,
  operation: () => Promise<Result>,
): Promise<Result> {
  try {
    return await operation();
  } catch (error) {
    if (!(error instanceof InitError)) throw error;
    throw new InitError(error.id, stateAfter(resource, inputs, error.outputs), error.message);
  }
}

function existingOf(id: string, state: PropertyBag, inputs: PropertyBag): Existing {
  return { id, state: plain(state), inputs: plain(inputs) };
}

function naming(request: pb.CheckRequest): Naming {
  const { PROPOSE, ENFORCE, DISABLE } = messages.CheckRequest.AutonamingOptions.Mode;
  const asked = request.getAutonaming();
  const proposes = asked?.getMode() === PROPOSE || asked?.getMode() === ENFORCE;
  return {
    logicalName: nameOf(request.getUrn()),
    seed: request.getRandomseed_asU8(),
    ...(proposes ? { proposed: asked.getProposedName() } : {}),
    disabled: asked?.getMode() === DISABLE,
  };
}

/** `urn:pulumi:stack::project::parent$type::name` → `type` */
function typeOf(urn: string): string {
  return urn.split("::")[2]?.split("$").at(-1) ?? "";
}

function nameOf(urn: string): string {
  return urn.split("::").slice(3).join("::");
}

function unknownToken(kind: string, token: string, known: Record<string, unknown>): Error {
  return new Error(
    `${token}: is not a ${kind} of the sandbox's stand-in plugin, which has: ${Object.keys(known).join(", ")}. Use one of these or the official plugin.`,
  );
}

function checkResponse({ inputs, failures }: { inputs: PropertyBag; failures: Failure[] }): pb.CheckResponse {
  const response = new messages.CheckResponse();
  response.setInputs(marshal(inputs));
  response.setFailuresList(failures.map(checkFailure));
  return response;
}

function checkFailure({ property, reason }: Failure): pb.CheckFailure {
  const failure = new messages.CheckFailure();
  failure.setProperty(property);
  failure.setReason(reason);
  return failure;
}

function diffResponse(changes: Change[], deleteFirst: boolean, ofInputs: boolean): pb.DiffResponse {
  const { Kind } = messages.PropertyDiff;
  const kinds = {
    add: [Kind.ADD, Kind.ADD_REPLACE],
    delete: [Kind.DELETE, Kind.DELETE_REPLACE],
    update: [Kind.UPDATE, Kind.UPDATE_REPLACE],
  } as const;
  const response = new messages.DiffResponse();
  const { DIFF_NONE, DIFF_SOME } = messages.DiffResponse.DiffChanges;
  response.setChanges(changes.length > 0 ? DIFF_SOME : DIFF_NONE);
  for (const { path, kind, replaces } of changes) {
    const detail = new messages.PropertyDiff();
    detail.setKind(kinds[kind][replaces ? 1 : 0]);
    detail.setInputdiff(ofInputs);
    response.getDetaileddiffMap().set(path, detail);
  }
  response.setHasdetaileddiff(true);
  const replacing = changes.filter(({ replaces }) => replaces);
  response.setDiffsList([...new Set(changes.map(({ path }) => topLevel(path)))]);
  response.setReplacesList([...new Set(replacing.map(({ path }) => topLevel(path)))]);
  response.setDeletebeforereplace(replacing.length > 0 && deleteFirst);
  return response;
}

function unary<Request, Response>(
  handler: (request: Request) => Response | Promise<Response>,
): handleUnaryCall<Request, Response> {
  return (call: ServerUnaryCall<Request, Response>, reply: sendUnaryData<Response>) => {
    void (async () => {
      try {
        reply(null, await handler(call.request));
      } catch (error) {
        reply(error instanceof InitError ? initErrorStatus(error) : plainErrorStatus(error));
      }
    })();
  };
}

/** The version of the npm SDK, which the engine asks plugins to have. */
function packageVersion(name: string): string {
  const { version } = createRequire(import.meta.url)(`@pulumi/${name}/package.json`) as { version: string };
  return version;
}
