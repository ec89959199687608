import messages from "@pulumi/pulumi/proto/provider_pb.js";
import type * as pb from "@pulumi/pulumi/proto/provider_pb.js";
import emptyMessages from "google-protobuf/google/protobuf/empty_pb.js";
import type { Empty } from "google-protobuf/google/protobuf/empty_pb.js";
import { checkProperties } from "./check.ts";
import type { Naming } from "./check.ts";
import type { Change, Context, Existing, Plugin, Resource } from "./definition.ts";
import { deletesFirst, diffProperties, topLevel, withoutIgnored } from "./diff.ts";
import { InitError, messageOf, unknownToken } from "./errors.ts";
import type { OperationRunner } from "./operation.ts";
import { checkResponse, diffResponse } from "./responses.ts";
import {
  inputsAfterRead,
  plain,
  stateAfter,
  stateAfterUpdate,
  unknownAfterCreate,
  unknownAfterUpdate,
  withoutDefaults,
} from "./state.ts";
import { nameOf, typeOf } from "./urn.ts";
import { marshal, unmarshal } from "./values.ts";
import type { PropertyBag } from "./values.ts";

/** The provider protocol's calls for resources. */
export class ResourceServer<Client> {
  readonly #resources: Plugin<Client>["resources"];
  /** Wraps a Terraform provider of either kind. */
  readonly #bridged: boolean;
  readonly #framework: boolean;
  readonly #runner: OperationRunner<Client>;

  constructor({ resources, kind }: Plugin<Client>, runner: OperationRunner<Client>) {
    this.#resources = resources;
    this.#bridged = kind !== "native";
    this.#framework = kind === "framework";
    this.#runner = runner;
  }

  check(request: pb.CheckRequest): pb.CheckResponse {
    const { type, resource } = this.#resource(request.getUrn());
    const checked = checkProperties(resource.inputs, unmarshal(request.getNews()), unmarshal(request.getOlds()), {
      owner: type,
      bridged: this.#bridged,
      naming: naming(request),
    });
    if (checked.failures.length === 0) checked.failures.push(...(resource.check?.(plain(checked.inputs)) ?? []));
    if (!this.#framework) return checkResponse(checked);
    const given = Object.entries(checked.inputs).filter(([key]) => key in unmarshal(request.getNews()));
    return checkResponse({ ...checked, inputs: Object.fromEntries(given) });
  }

  /** Inputs for the resource's functions, with the defaults that a check may have omitted. */
  #inputs(resource: Resource<Client>, struct: Parameters<typeof unmarshal>[0]): PropertyBag {
    const inputs = unmarshal(struct);
    if (!this.#framework) return inputs;
    return withoutDefaults(checkProperties(resource.inputs, inputs, {}, { owner: "", bridged: true }).inputs);
  }

  diff(request: pb.DiffRequest): pb.DiffResponse {
    const { resource } = this.#resource(request.getUrn());
    const news = this.#inputs(resource, request.getNews());
    const changes = this.#plan(resource, request, news);
    return diffResponse(changes, deletesFirst(resource, news), {
      ofInputs: !this.#bridged,
      detailed: !this.#framework,
    });
  }

  /** The differences; in a create, all properties. */
  #plan(
    resource: Resource<Client>,
    request: pb.DiffRequest | pb.UpdateRequest | pb.CreateRequest,
    news: PropertyBag,
  ): Change[] {
    try {
      resource.plan?.(plain(news));
      return "getOlds" in request ? this.#changesOf(resource, request, news) : [];
    } catch (error) {
      throw new Error(`diffing ${request.getUrn()}: ${listed(error)}`, { cause: error });
    }
  }

  /** Bridged plugins compare the state with the new inputs; native ones old inputs with new ones, a secret as a whole. */
  #changesOf(resource: Resource<Client>, request: pb.DiffRequest | pb.UpdateRequest, news: PropertyBag): Change[] {
    const ignored = request.getIgnorechangesList();
    if (!this.#bridged) {
      // Only a change of a whole property replaces, not one inside it. The SDKs ask the engine for the rest.
      return this.#changes(resource, unmarshal(request.getOldInputs()), news, ignored).map((change) =>
        topLevel(change.path) === change.path ? change : { ...change, replaces: false },
      );
    }
    return this.#changes(resource, plain(unmarshal(request.getOlds())), plain(news), ignored);
  }

  #changes(resource: Resource<Client>, olds: PropertyBag, news: PropertyBag, ignored: readonly string[]): Change[] {
    const found = diffProperties(resource.inputs, olds, news, { bridged: this.#bridged });
    return withoutIgnored(resource.diff?.(found, olds, news) ?? found, ignored);
  }

  async create(request: pb.CreateRequest, call: AbortSignal): Promise<pb.CreateResponse> {
    const { resource } = this.#resource(request.getUrn());
    const inputs = this.#inputs(resource, request.getProperties());
    this.#plan(resource, request, inputs);
    const response = new messages.CreateResponse();
    if (request.getPreview()) {
      const planned = stateAfter(resource, inputs, unknownAfterCreate(resource, inputs));
      // In Terraform's newer kind of provider, an unknown value is not secret yet.
      response.setProperties(
        marshal(this.#framework ? { ...planned, ...unknownAfterCreate(resource, inputs) } : planned),
      );
      return response;
    }
    const created = await this.#run("create", resource, request, call, async (context) => {
      try {
        return await resource.create(context, plain(inputs));
      } catch (error) {
        if (!(error instanceof InitError)) throw this.#bridged ? new Error(listed(error), { cause: error }) : error;
        const state = stateAfter(resource, inputs, error.outputs);
        throw new InitError(error.id, state, this.#reason("creating", request, error), { cause: error });
      }
    });
    response.setId(created.id);
    response.setProperties(marshal(stateAfter(resource, inputs, created.outputs)));
    return response;
  }

  async read(request: pb.ReadRequest, call: AbortSignal): Promise<pb.ReadResponse> {
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
    const found = await this.#run("read", resource, request, call, (context) =>
      this.#wording("refreshing", request, () => read(context, existing)),
    );
    if (!found) return response;
    const live = { ...plain(state), ...found };
    response.setId(request.getId());
    response.setInputs(marshal(inputsAfterRead(resource, inputs, live)));
    response.setProperties(marshal(stateAfter(resource, state, found)));
    return response;
  }

  async update(request: pb.UpdateRequest, call: AbortSignal): Promise<pb.UpdateResponse> {
    const { type, resource } = this.#resource(request.getUrn());
    const state = unmarshal(request.getOlds());
    const oldInputs = unmarshal(request.getOldInputs());
    const inputs = this.#inputs(resource, request.getNews());
    const changed = new Set(this.#plan(resource, request, inputs).map(({ path }) => topLevel(path)));
    const response = new messages.UpdateResponse();
    if (request.getPreview()) {
      response.setProperties(marshal(stateAfterUpdate(resource, state, inputs, unknownAfterUpdate(resource))));
      return response;
    }
    const update = resource.update;
    if (!update) throw new Error(`${type}: has no property that can change in place, the change must replace it.`);
    const existing = existingOf(request.getId(), state, oldInputs);
    const outputs = await this.#run("update", resource, request, call, async (context) => {
      try {
        return await update(context, existing, plain(inputs), changed);
      } catch (error) {
        if (!this.#bridged) throw error;
        // Terraform's SDK keeps the planned state even if the update fails, so the next run finds no difference.
        const planned = resource.partialUpdates ? state : stateAfterUpdate(resource, state, inputs, {});
        throw new InitError(request.getId(), planned, this.#reason("updating", request, error), { cause: error });
      }
    });
    response.setProperties(marshal(stateAfterUpdate(resource, state, inputs, outputs)));
    return response;
  }

  async delete(request: pb.DeleteRequest, call: AbortSignal): Promise<Empty> {
    const { resource } = this.#resource(request.getUrn());
    const existing = existingOf(request.getId(), unmarshal(request.getProperties()), unmarshal(request.getOldInputs()));
    const remove = resource.delete;
    if (remove) {
      await this.#run("delete", resource, request, call, (context) =>
        this.#wording("deleting", request, () => remove(context, existing)),
      );
    }
    return new emptyMessages.Empty();
  }

  #run<Result>(
    kind: "create" | "read" | "update" | "delete",
    resource: Resource<Client>,
    request: OperationRequest,
    call: AbortSignal,
    work: (context: Context<Client>) => Promise<Result>,
  ): Promise<Result> {
    const asked = "getTimeout" in request ? request.getTimeout() : 0;
    const declared = kind === "read" ? undefined : resource.timeouts?.[kind];
    // A delete uses the user's limit even if its type declares none.
    const heeded = !this.#bridged || declared !== undefined || kind === "delete";
    const operation = {
      urn: request.getUrn(),
      name: nameOf(request.getUrn()),
      timeoutSeconds: this.#bridged ? (heeded && asked) || (declared ?? BRIDGED_TIMEOUT) : asked,
      call,
    };
    return this.#runner.run(operation, (context) => {
      if (!heeded && asked > 0) {
        context.log("warning", `Resource does not support customTimeouts, ignoring: ${kind}=${formatDuration(asked)}`);
      }
      return work(context);
    });
  }

  async #wording<Result>(doing: string, request: OperationRequest, work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      throw this.#bridged ? new Error(this.#reason(doing, request, error), { cause: error }) : error;
    }
  }

  /** The text of a bridged plugin's failure: the operation and the resource, then a list, even of one failure. */
  #reason(doing: string, request: OperationRequest, error: unknown): string {
    return this.#bridged ? `${doing} ${request.getUrn()}: ${listed(error)}` : messageOf(error);
  }

  #resource(urn: string): { type: string; resource: Resource<Client> } {
    const type = typeOf(urn);
    const resource = this.#resources[type];
    if (!resource) throw unknownToken("resource type", type, this.#resources);
    return { type, resource };
  }
}

type OperationRequest = pb.CreateRequest | pb.ReadRequest | pb.UpdateRequest | pb.DeleteRequest;

/** The limit in seconds for a bridged plugin's operation if its type declares none. */
const BRIDGED_TIMEOUT = 20 * 60;

function listed(error: unknown): string {
  return `1 error occurred:\n\t* ${messageOf(error)}\n\n`;
}

/** As Go prints durations: `1h0m0s`, `1m30s`, `30s`. */
function formatDuration(seconds: number): string {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  const long = hours > 0 ? `${hours}h${minutes}m` : minutes > 0 ? `${minutes}m` : "";
  return `${long}${seconds % 60}s`;
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
