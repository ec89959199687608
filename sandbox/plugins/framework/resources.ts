import messages from "@pulumi/pulumi/proto/provider_pb.js";
import type * as pb from "@pulumi/pulumi/proto/provider_pb.js";
import emptyMessages from "google-protobuf/google/protobuf/empty_pb.js";
import type { Empty } from "google-protobuf/google/protobuf/empty_pb.js";
import { checkProperties } from "./check.ts";
import type { Naming } from "./check.ts";
import type { Change, Existing, Plugin, Resource } from "./definition.ts";
import { deletesFirst, diffProperties, topLevel, withoutIgnored } from "./diff.ts";
import { InitError, unknownToken } from "./errors.ts";
import type { Operation, OperationRunner } from "./operation.ts";
import { checkResponse, diffResponse } from "./responses.ts";
import {
  inputsAfterRead,
  plain,
  stateAfter,
  stateAfterUpdate,
  unknownAfterCreate,
  unknownAfterUpdate,
} from "./state.ts";
import { nameOf, typeOf } from "./urn.ts";
import { marshal, unmarshal } from "./values.ts";
import type { PropertyBag } from "./values.ts";

/** The part of the provider protocol that is about resources. */
export class ResourceServer<Client> {
  readonly #resources: Plugin<Client>["resources"];
  readonly #bridged: boolean;
  readonly #runner: OperationRunner<Client>;

  constructor({ resources, kind }: Plugin<Client>, runner: OperationRunner<Client>) {
    this.#resources = resources;
    this.#bridged = kind === "bridged";
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
    return checkResponse(checked);
  }

  diff(request: pb.DiffRequest): pb.DiffResponse {
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

  async create(request: pb.CreateRequest): Promise<pb.CreateResponse> {
    const { resource } = this.#resource(request.getUrn());
    const inputs = unmarshal(request.getProperties());
    const response = new messages.CreateResponse();
    if (request.getPreview()) {
      response.setProperties(marshal(stateAfter(resource, inputs, unknownAfterCreate(resource, inputs))));
      return response;
    }
    const created = await this.#runner.run(operationOf(request), (context) =>
      completing(
        (found) => stateAfter(resource, inputs, found),
        () => resource.create(context, plain(inputs)),
      ),
    );
    response.setId(created.id);
    response.setProperties(marshal(stateAfter(resource, inputs, created.outputs)));
    return response;
  }

  async read(request: pb.ReadRequest): Promise<pb.ReadResponse> {
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
    const found = await this.#runner.run(operationOf(request), (context) => read(context, existing));
    if (!found) return response;
    const live = { ...plain(state), ...found };
    response.setId(request.getId());
    response.setInputs(marshal(inputsAfterRead(resource, inputs, live, { bridged: this.#bridged })));
    response.setProperties(marshal(stateAfter(resource, state, found)));
    return response;
  }

  async update(request: pb.UpdateRequest): Promise<pb.UpdateResponse> {
    const { type, resource } = this.#resource(request.getUrn());
    const state = unmarshal(request.getOlds());
    const oldInputs = unmarshal(request.getOldInputs());
    const inputs = unmarshal(request.getNews());
    const response = new messages.UpdateResponse();
    if (request.getPreview()) {
      response.setProperties(marshal(stateAfterUpdate(resource, state, inputs, unknownAfterUpdate(resource))));
      return response;
    }
    const update = resource.update;
    if (!update) throw new Error(`${type}: has no property that can change in place, the change must replace it.`);
    const before = plain(this.#bridged ? state : oldInputs);
    const changes = this.#changes(resource, before, plain(inputs), request.getIgnorechangesList());
    const changed = new Set(changes.map(({ path }) => topLevel(path)));
    const existing = existingOf(request.getId(), state, oldInputs);
    const outputs = await this.#runner.run(operationOf(request), (context) =>
      completing(
        (found) => stateAfterUpdate(resource, state, inputs, found),
        () => update(context, existing, plain(inputs), changed),
      ),
    );
    response.setProperties(marshal(stateAfterUpdate(resource, state, inputs, outputs)));
    return response;
  }

  async delete(request: pb.DeleteRequest): Promise<Empty> {
    const { resource } = this.#resource(request.getUrn());
    const existing = existingOf(request.getId(), unmarshal(request.getProperties()), unmarshal(request.getOldInputs()));
    const remove = resource.delete;
    if (remove) await this.#runner.run(operationOf(request), (context) => remove(context, existing));
    return new emptyMessages.Empty();
  }

  #resource(urn: string): { type: string; resource: Resource<Client> } {
    const type = typeOf(urn);
    const resource = this.#resources[type];
    if (!resource) throw unknownToken("resource type", type, this.#resources);
    return { type, resource };
  }
}

function operationOf(request: pb.CreateRequest | pb.ReadRequest | pb.UpdateRequest | pb.DeleteRequest): Operation {
  const timeoutSeconds = "getTimeout" in request ? request.getTimeout() : 0;
  return { urn: request.getUrn(), name: nameOf(request.getUrn()), timeoutSeconds };
}

/** Gives an InitError the rest of the state, which only the framework knows. */
async function completing<Result>(
  complete: (outputs: Readonly<Record<string, unknown>>) => PropertyBag,
  operation: () => Promise<Result>,
): Promise<Result> {
  try {
    return await operation();
  } catch (error) {
    if (!(error instanceof InitError)) throw error;
    throw new InitError(error.id, complete(error.outputs), error.message, { cause: error });
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
