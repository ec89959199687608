import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import grpc from "@grpc/grpc-js";
import type { ClientUnaryCall, ServiceError, ServerUnaryCall, sendUnaryData } from "@grpc/grpc-js";
import engineServices from "@pulumi/pulumi/proto/engine_grpc_pb.js";
import type { LogRequest } from "@pulumi/pulumi/proto/engine_pb.js";
import services from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import messages from "@pulumi/pulumi/proto/provider_pb.js";
import type * as pb from "@pulumi/pulumi/proto/provider_pb.js";
import statusMessages from "@pulumi/pulumi/proto/status_pb.js";
import emptyMessages from "google-protobuf/google/protobuf/empty_pb.js";
import { originalPlugin } from "../../sandbox/engine/originals.ts";
import {
  containsSecret,
  isObject,
  mapValues,
  marshal,
  reveal,
  Secret,
  unmarshal,
} from "../../sandbox/plugins/framework/values.ts";
import type { PropertyBag, Value } from "../../sandbox/plugins/framework/values.ts";
import { nameOf, typeOf } from "../../sandbox/plugins/framework/urn.ts";
import { Housekeeping } from "./plugin-housekeeping.ts";

/** A resource's inputs in a program, without undefined members. */
export type Inputs = Readonly<Record<string, unknown>>;

/** A resource as the engine keeps it between operations. */
export interface Made {
  type: string;
  urn: string;
  id: string;
  inputs: PropertyBag;
  state: PropertyBag;
}

export interface LogLine {
  severity: "debug" | "info" | "warning" | "error";
  message: string;
  urn: string;
  /** Replaced by the next line. */
  status: boolean;
}

export interface DiffResult {
  /** `{"ports[0].internal": "UPDATE_REPLACE"}`; empty if a plugin only names properties. */
  detailed: Record<string, keyof typeof pb.PropertyDiff.Kind>;
  replaces: string[];
  diffs: string[];
  deleteBeforeReplace: boolean;
}

export interface OperationOptions {
  preview?: boolean;
  timeoutSeconds?: number;
}

export interface CheckOptions {
  name?: string;
  olds?: PropertyBag;
  seed?: string;
  autonaming?: { mode: keyof typeof pb.CheckRequest.AutonamingOptions.Mode; proposed?: string };
}

export interface StartOptions {
  env?: Record<string, string>;
  /** The stand-in to use without an original; `sandbox/plugins/<name>/main.ts` by default. */
  standIn?: string;
}

/**
 * A plugin process, which is started and called as by the engine, with an engine that records log lines:
 * `await using plugin = await PluginClient.start("random")`, then `configure`, `create`, `diff`…
 *
 * It is the official plugin if `CONVEX_DROPLET_ORIGINALS` has one, else the stand-in. Tests do not see `__meta` and
 * `__defaults`, which only the plugin uses; it gets them back unchanged.
 */
export class PluginClient implements AsyncDisposable {
  readonly logs: LogLine[];
  /** The bare protocol. */
  readonly grpc: InstanceType<typeof services.ResourceProviderClient>;
  /** The plugin's process id. */
  readonly pid: number;
  readonly #name: string;
  readonly #process: ChildProcess;
  readonly #engine: FakeEngine;
  readonly #housekeeping: Housekeeping;
  readonly #waiting = new Set<ClientUnaryCall>();
  #acceptsSecrets = false;
  #lastInputs: PropertyBag = {};

  private constructor(
    name: string,
    process: ChildProcess,
    pid: number,
    engine: FakeEngine,
    port: number,
    housekeeping: Housekeeping,
  ) {
    this.#housekeeping = housekeeping;
    this.#name = name;
    this.#process = process;
    this.pid = pid;
    this.#engine = engine;
    this.logs = engine.logs;
    this.grpc = new services.ResourceProviderClient(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  }

  /** Starts the official plugin if there is one, else its stand-in, and waits for its port. */
  static start(name: string, options: StartOptions = {}): Promise<PluginClient> {
    const standIn = options.standIn ?? path.resolve("sandbox/plugins", name, "main.ts");
    const original = originalPlugin(name);
    return PluginClient.run(name, original === undefined ? [process.execPath, standIn] : [original], {
      env: options.env,
    });
  }

  /** Starts a plugin with this command, and waits for its port; with `notes`, tests see `__meta` and `__defaults`. */
  static async run(
    name: string,
    words: string[],
    { env, notes }: { env?: Record<string, string> | undefined; notes?: true },
  ): Promise<PluginClient> {
    const engine = await FakeEngine.start();
    const [program = "", ...args] = words;
    const child = spawn(program, [...args, engine.address], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, ...env },
    });
    const firstLine = new Promise<string>((resolve, reject) => {
      createInterface(child.stdout).once("line", resolve);
      child.once("error", reject);
      child.once("exit", (code) => {
        reject(new Error(`${words.join(" ")}: ended with code ${String(code)} before it printed its port`));
      });
    });
    try {
      const port = Number(await firstLine);
      if (child.pid === undefined) throw new Error(`${words.join(" ")}: has no process id`);
      const client = new PluginClient(name, child, child.pid, engine, port, new Housekeeping(notes));
      await client.#shakeHands(engine.address);
      return client;
    } catch (error) {
      engine.stop();
      child.kill("SIGKILL");
      throw error;
    }
  }

  /** The features that it accepts; a plugin that does not know this call answers in Configure. */
  async #shakeHands(engineAddress: string): Promise<void> {
    const request = new messages.ProviderHandshakeRequest();
    request.setEngineAddress(engineAddress);
    request.setConfigureWithUrn(true);
    try {
      const response = await this.#answer<pb.ProviderHandshakeResponse>((done) => this.grpc.handshake(request, done));
      this.#acceptsSecrets = response.getAcceptSecrets();
    } catch (error) {
      if ((error as ServiceError).code !== grpc.status.UNIMPLEMENTED) throw error;
    }
  }

  /** CheckConfig and Configure, as for a provider with these settings. */
  async configure(settings: Inputs = {}): Promise<PropertyBag> {
    const inputs = await this.checkConfig(settings);
    const request = new messages.ConfigureRequest();
    request.setUrn(this.#providerUrn());
    request.setName("default");
    request.setType(`pulumi:providers:${this.#name}`);
    request.setId("provider");
    request.setArgs(marshal(inputs));
    // The older form of the same settings, which parts of some plugins still read.
    for (const [key, value] of Object.entries(reveal(inputs) as PropertyBag)) {
      const text = typeof value === "string" ? value : JSON.stringify(value);
      request.getVariablesMap().set(`${this.#name}:config:${key}`, text);
    }
    request.setAcceptsecrets(true);
    request.setAcceptresources(true);
    request.setSendsOldInputs(true);
    request.setSendsOldInputsToDelete(true);
    const response = await this.#answer<pb.ConfigureResponse>((done) => this.grpc.configure(request, done));
    this.#acceptsSecrets ||= response.getAcceptsecrets();
    return inputs;
  }

  async checkConfig(settings: Inputs): Promise<PropertyBag> {
    const request = new messages.CheckRequest();
    request.setUrn(this.#providerUrn());
    request.setName("default");
    request.setType(`pulumi:providers:${this.#name}`);
    request.setNews(marshal(settings));
    const response = await this.#answer<pb.CheckResponse>((done) => this.grpc.checkConfig(request, done));
    return annotateSecrets(checked(response), settings);
  }

  /** The checked inputs; rejects with the reasons of failures, one on each line. */
  async check(type: string, inputs: Inputs, options: CheckOptions = {}): Promise<PropertyBag> {
    const request = new messages.CheckRequest();
    this.#address(request, urnOf(type, options.name));
    request.setNews(this.#sent({ ...inputs } as PropertyBag));
    request.setOlds(this.#sent(options.olds ?? {}));
    request.setRandomseed(Buffer.from(options.seed ?? "seed"));
    if (options.autonaming) {
      const autonaming = new messages.CheckRequest.AutonamingOptions();
      autonaming.setMode(messages.CheckRequest.AutonamingOptions.Mode[options.autonaming.mode]);
      autonaming.setProposedName(options.autonaming.proposed ?? "");
      request.setAutonaming(autonaming);
    }
    const response = await this.#answer<pb.CheckResponse>((done) => this.grpc.check(request, done));
    return this.#received(checked(response), inputs);
  }

  /** The diff for a change from the resource to these inputs. */
  async diff(made: Made, inputs: Inputs, options: { ignoreChanges?: string[] } = {}): Promise<DiffResult> {
    const request = new messages.DiffRequest();
    this.#address(request, made.urn);
    request.setId(made.id);
    request.setOlds(this.#sent(made.state));
    request.setOldInputs(this.#sent(made.inputs));
    request.setNews(this.#sent(await this.#recheck(made, inputs)));
    request.setIgnorechangesList(options.ignoreChanges ?? []);
    const response = await this.#answer<pb.DiffResponse>((done) => this.grpc.diff(request, done));
    const some = response.getChanges() === messages.DiffResponse.DiffChanges.DIFF_SOME;
    const detailed: DiffResult["detailed"] = {};
    response.getDetaileddiffMap().forEach((detail, place) => {
      detailed[place] = kindOf(detail);
    });
    const names = Object.keys(detailed).length > 0 || response.getDiffsList().length > 0;
    if (some !== names) throw new Error(`${made.urn}: changes and detailedDiff disagree`);
    return {
      detailed,
      replaces: [...new Set(response.getReplacesList())],
      diffs: [...new Set(response.getDiffsList())],
      deleteBeforeReplace: response.getDeletebeforereplace(),
    };
  }

  /** Check and Create. */
  async create(type: string, inputs: Inputs, options: OperationOptions & CheckOptions = {}): Promise<Made> {
    const checkedInputs = await this.check(type, inputs, options);
    const urn = urnOf(type, options.name);
    const request = new messages.CreateRequest();
    this.#address(request, urn);
    this.#lastInputs = checkedInputs;
    request.setProperties(this.#sent(checkedInputs));
    request.setPreview(options.preview ?? false);
    request.setTimeout(options.timeoutSeconds ?? 0);
    const response = await this.#answer<pb.CreateResponse>((done) => this.grpc.create(request, done));
    return {
      type,
      urn,
      id: response.getId(),
      inputs: checkedInputs,
      state: this.#received(unmarshal(response.getProperties()), checkedInputs),
    };
  }

  /** Check and Update. */
  async update(made: Made, inputs: Inputs, options: OperationOptions = {}): Promise<Made> {
    const checkedInputs = await this.#recheck(made, inputs);
    const request = new messages.UpdateRequest();
    this.#address(request, made.urn);
    request.setId(made.id);
    request.setOlds(this.#sent(made.state));
    request.setOldInputs(this.#sent(made.inputs));
    this.#lastInputs = checkedInputs;
    request.setNews(this.#sent(checkedInputs));
    request.setPreview(options.preview ?? false);
    request.setTimeout(options.timeoutSeconds ?? 0);
    const response = await this.#answer<pb.UpdateResponse>((done) => this.grpc.update(request, done));
    return {
      ...made,
      inputs: checkedInputs,
      state: this.#received(unmarshal(response.getProperties()), checkedInputs),
    };
  }

  /** The resource after a refresh; undefined if it is gone. */
  async read(made: Made): Promise<Made | undefined> {
    const request = new messages.ReadRequest();
    this.#address(request, made.urn);
    request.setId(made.id);
    request.setProperties(this.#sent(made.state));
    request.setInputs(this.#sent(made.inputs));
    const response = await this.#answer<pb.ReadResponse>((done) => this.grpc.read(request, done));
    if (response.getId() === "") return undefined;
    const inputs = this.#received(unmarshal(response.getInputs()), made.inputs);
    const state = this.#received(unmarshal(response.getProperties()), made.state);
    return { ...made, id: response.getId(), inputs, state };
  }

  async delete(made: Made, options: { timeoutSeconds?: number } = {}): Promise<void> {
    const request = new messages.DeleteRequest();
    this.#address(request, made.urn);
    request.setId(made.id);
    request.setProperties(this.#sent(made.state));
    request.setOldInputs(this.#sent(made.inputs));
    request.setTimeout(options.timeoutSeconds ?? 0);
    await this.#answer((done) => this.grpc.delete(request, done));
  }

  async invoke(token: string, args: Inputs): Promise<PropertyBag> {
    const request = new messages.InvokeRequest();
    request.setTok(token);
    request.setArgs(marshal(args));
    const response = await this.#answer<pb.InvokeResponse>((done) => this.grpc.invoke(request, done));
    refuseFailures(response.getFailuresList());
    return unmarshal(response.getReturn());
  }

  /** The engine's call when the user presses Ctrl-C. */
  async cancel(): Promise<void> {
    await this.#answer((done) => this.grpc.cancel(new emptyMessages.Empty(), done));
  }

  /** Ends the engine as a kill does: it no longer waits for answers or gives any. */
  killEngine(): void {
    for (const call of this.#waiting) call.cancel();
    this.#engine.stop();
  }

  #answer<Response>(
    call: (done: (error: ServiceError | null, response: Response) => void) => ClientUnaryCall,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const waiting = call((error, response) => {
        this.#waiting.delete(waiting);
        if (error) reject(error);
        else resolve(response);
      });
      this.#waiting.add(waiting);
    });
  }

  isAlive(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.grpc.close();
    if (this.isAlive()) {
      const ended = once(this.#process, "exit");
      this.#process.kill("SIGKILL");
      await ended;
    }
    this.#engine.stop();
  }

  /** What the engine keeps if an operation failed after the resource existed; undefined for any other error. */
  initErrorOf(error: unknown): { id: string; state: PropertyBag; reasons: string[] } | undefined {
    const detail = initErrorOf(error);
    return detail && { ...detail, state: this.#received(detail.state, this.#lastInputs) };
  }

  /** Values for the plugin: with its notes, and without secret marks if it does not accept them. */
  #sent(bag: PropertyBag): ReturnType<typeof marshal> {
    const whole = this.#housekeeping.restore(bag);
    return marshal(this.#acceptsSecrets ? whole : (reveal(whole) as PropertyBag));
  }

  /** Values from the plugin: without its notes, and secret again if they were secret in the request. */
  #received(bag: PropertyBag, sent: Inputs): PropertyBag {
    return this.#housekeeping.remove(this.#acceptsSecrets ? bag : annotateSecrets(bag, sent));
  }

  #providerUrn(): string {
    return `urn:pulumi:test::test::pulumi:providers:${this.#name}::default`;
  }

  /** The engine sends name and type in addition to the URN. */
  #address(
    request: { setUrn(v: string): void; setName(v: string): void; setType(v: string): void },
    urn: string,
  ): void {
    request.setUrn(urn);
    request.setName(nameOf(urn));
    request.setType(typeOf(urn));
  }

  /** Keeps old inputs as defaults, as the engine does for an existing resource. */
  #recheck(made: Made, inputs: Inputs): Promise<PropertyBag> {
    return this.check(made.type, inputs, { name: made.urn.split("::").at(-1) ?? "", olds: made.inputs });
  }
}

/** Marks again what a plugin answers in clear text, like the engine: a list with one secret item is secret as a whole. */
function annotateSecrets(bag: PropertyBag, like: Inputs): PropertyBag {
  return mapValues(bag, (value, key) => {
    const original = like[key] as Value | undefined;
    if (original === undefined || value instanceof Secret) return value;
    if (isObject(value) && isObject(original)) return annotateSecrets(value, original);
    return containsSecret(original) ? new Secret(value) : value;
  });
}

function initErrorOf(error: unknown): { id: string; state: PropertyBag; reasons: string[] } | undefined {
  const [trailer] = (error as ServiceError).metadata.get("grpc-status-details-bin");
  if (!Buffer.isBuffer(trailer)) return undefined;
  const [packed] = statusMessages.Status.deserializeBinary(trailer).getDetailsList();
  const detail = packed?.unpack(
    (bytes: Uint8Array) => messages.ErrorResourceInitFailed.deserializeBinary(bytes),
    "pulumirpc.ErrorResourceInitFailed",
  );
  return detail
    ? { id: detail.getId(), state: unmarshal(detail.getProperties()), reasons: detail.getReasonsList() }
    : undefined;
}

/** The engine for a plugin: an address, and a service for log lines. */
class FakeEngine {
  readonly logs: LogLine[] = [];
  readonly #server = new grpc.Server();
  address = "";

  static async start(): Promise<FakeEngine> {
    const engine = new FakeEngine();
    const severities = ["debug", "info", "warning", "error"] as const;
    engine.#server.addService(engineServices.EngineService, {
      log: ({ request }: ServerUnaryCall<LogRequest, unknown>, reply: sendUnaryData<unknown>) => {
        engine.logs.push({
          severity: severities[request.getSeverity()],
          message: request.getMessage(),
          urn: request.getUrn(),
          status: request.getEphemeral(),
        });
        reply(null, new emptyMessages.Empty());
      },
    });
    const bind = promisify(engine.#server.bindAsync.bind(engine.#server));
    const port = await bind("127.0.0.1:0", grpc.ServerCredentials.createInsecure());
    engine.address = `127.0.0.1:${String(port)}`;
    return engine;
  }

  stop(): void {
    this.#server.forceShutdown();
  }
}

function urnOf(type: string, name = "thing"): string {
  return `urn:pulumi:test::test::${type}::${name}`;
}

function checked(response: pb.CheckResponse): PropertyBag {
  refuseFailures(response.getFailuresList());
  return unmarshal(response.getInputs());
}

function refuseFailures(failures: pb.CheckFailure[]): void {
  if (failures.length > 0) throw new Error(failures.map((failure) => failure.getReason()).join("\n"));
}

function kindOf(detail: pb.PropertyDiff): keyof typeof pb.PropertyDiff.Kind {
  const kinds = Object.entries(messages.PropertyDiff.Kind);
  const name = kinds.find(([, kind]) => kind === detail.getKind())?.[0];
  return name as keyof typeof pb.PropertyDiff.Kind;
}
