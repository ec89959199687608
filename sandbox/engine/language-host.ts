/**
 * `pulumi-language-nodejs`: the server with which the Pulumi engine runs Node programs. The engine starts it as
 * `pulumi-language-nodejs [--logtostderr] [-v=N] [--tracing URL] <engine address>` and reads the port from the first line
 * of its standard output. Start-up time is part of every `pulumi` command, so only the SDK's protocol stubs are loaded.
 */
import { spawn } from "node:child_process";
import { parseArgs } from "node:util";

import grpc from "@grpc/grpc-js";
import type { handleServerStreamingCall, handleUnaryCall } from "@grpc/grpc-js";
import languageService from "@pulumi/pulumi/proto/language_grpc_pb.js";
import type { ILanguageRuntimeServer } from "@pulumi/pulumi/proto/language_grpc_pb.js";
import language from "@pulumi/pulumi/proto/language_pb.js";
import type {
  InstallDependenciesRequest,
  InstallDependenciesResponse,
  RunPluginRequest,
  RunPluginResponse,
} from "@pulumi/pulumi/proto/language_pb.js";
import plugin from "@pulumi/pulumi/proto/plugin_pb.js";
import empty from "google-protobuf/google/protobuf/empty_pb.js";

import { untilEnd } from "./child-process.ts";
import { npmVersion } from "./npm-version.ts";
import { programDependencies, requiredPlugins } from "./npm-packages.ts";
import { runPolicyPack } from "./policy-pack.ts";
import { runProgram } from "./program.ts";

/** The engine's limit; configuration and dependency lists can be large. */
const MAX_MESSAGE_BYTES = 400 * 1024 * 1024;

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { logtostderr: { type: "boolean" }, v: { type: "string", short: "v" }, tracing: { type: "string" } },
});
const spawnedBy = positionals[0];
let engineAddress = spawnedBy ?? "";

/** Aborted by the engine's `Cancel` and at shutdown; ends the running processes. */
let cancellation = new AbortController();
/** The calls in progress. */
const running = new Set<Promise<unknown>>();

const host = {
  /** Only called by an engine that attaches to a host that it did not start. */
  handshake: unary((request) => {
    engineAddress = request.getEngineAddress();
    return new language.LanguageHandshakeResponse();
  }),

  getPluginInfo: unary(() => new plugin.PluginInfo().setVersion(npmVersion("@pulumi/pulumi"))),

  getRequiredPackages: unary(async (request) => {
    const plugins = await requiredPlugins(request.getInfo()?.getProgramDirectory() ?? process.cwd());
    return new language.GetRequiredPackagesResponse().setPackagesList(
      plugins.map(({ name, version, server = "" }) =>
        new plugin.PackageDependency().setKind("resource").setName(name).setVersion(version).setServer(server),
      ),
    );
  }),

  run: unary((request) => runProgram(request, { engineAddress, tracing: flags.tracing }, cancellation.signal)),

  about: unary(() => new language.AboutResponse().setExecutable(process.execPath).setVersion(process.version)),

  getProgramDependencies: unary(async (request) => {
    const directory = request.getInfo()?.getProgramDirectory() ?? request.getPwd();
    const dependencies = await programDependencies(directory, request.getTransitivedependencies());
    return new language.GetProgramDependenciesResponse().setDependenciesList(
      dependencies.map(({ name, version }) => new language.DependencyInfo().setName(name).setVersion(version)),
    );
  }),

  installDependencies: streaming(installDependencies),

  runPlugin: streaming(runPlugin),

  /** The CLI need not ask for any option of a Node program. */
  runtimeOptionsPrompts: unary(() => new language.RuntimeOptionsResponse()),

  cancel: unary(() => {
    cancellation.abort();
    // An engine that only attached does not end the host: the next engine may use it.
    if (spawnedBy === undefined) cancellation = new AbortController();
    return new empty.Empty();
  }),
} satisfies Partial<ILanguageRuntimeServer>;

/** Installs exactly the packages of the lock file, and streams npm's output. */
async function installDependencies(
  request: InstallDependenciesRequest,
  send: (response: InstallDependenciesResponse) => void,
  signal: AbortSignal,
): Promise<void> {
  const toStdout = (text: Uint8Array) => {
    send(new language.InstallDependenciesResponse().setStdout(text));
  };
  const toStderr = (text: Uint8Array) => {
    send(new language.InstallDependenciesResponse().setStderr(text));
  };
  toStdout(Buffer.from("Installing dependencies...\n\n"));
  const cwd = request.getInfo()?.getProgramDirectory() ?? request.getDirectory();
  const npm = spawn("npm", ["ci", "--loglevel=error"], { cwd, stdio: ["ignore", "pipe", "pipe"] });
  npm.stdout.on("data", toStdout);
  npm.stderr.on("data", toStderr);
  const code = await untilEnd(npm, signal);
  if (code !== 0) throw new Error(`npm ci: exited with code ${code}, should be 0`);
  toStdout(Buffer.from("Finished installing dependencies\n\n"));
}

/** Runs a policy pack, the only kind of plugin that is written for Node here. */
async function runPlugin(
  request: RunPluginRequest,
  send: (response: RunPluginResponse) => void,
  signal: AbortSignal,
): Promise<void> {
  const kind = request.getKind();
  if (kind !== "analyzer") throw new Error(`a plugin of kind ${kind}: is not supported, it should be analyzer`);
  const output = {
    stdout: (text: Uint8Array) => {
      send(new language.RunPluginResponse().setStdout(text));
    },
    stderr: (text: Uint8Array) => {
      send(new language.RunPluginResponse().setStderr(text));
    },
  };
  await runPolicyPack(request, output, signal);
}

/** Answers a call with a plain function; an error that it throws becomes the call's error. */
function unary<Request, Response>(
  answer: (request: Request) => Response | Promise<Response>,
): handleUnaryCall<Request, Response> {
  return (call, reply) => {
    track(async () => answer(call.request)).then(
      (response) => {
        reply(null, response);
      },
      (error: unknown) => {
        reply(status(error));
      },
    );
  };
}

/** The same for a call whose answer is a stream of messages. The signal also aborts if the engine gives up the call. */
function streaming<Request, Response>(
  answer: (request: Request, send: (response: Response) => void, signal: AbortSignal) => Promise<void>,
): handleServerStreamingCall<Request, Response> {
  return (call) => {
    const given = new AbortController();
    call.once("cancelled", () => {
      given.abort();
    });
    const signal = AbortSignal.any([cancellation.signal, given.signal]);
    track(() => answer(call.request, (response) => void call.write(response), signal)).then(
      () => {
        call.end();
      },
      (error: unknown) => {
        call.emit("error", status(error));
      },
    );
  };
}

/** Keeps the host alive until the work is done. */
function track<Result>(work: () => Promise<Result>): Promise<Result> {
  const result = work();
  running.add(result);
  return result.finally(() => running.delete(result));
}

function status(error: unknown) {
  return { code: grpc.status.UNKNOWN, details: error instanceof Error ? error.message : String(error) };
}

/** Ends within five seconds, because the engine then kills the process group. */
async function shutDown(): Promise<never> {
  cancellation.abort();
  await Promise.allSettled(running);
  process.exit();
}

process.once("SIGINT", () => void shutDown());
process.once("SIGTERM", () => void shutDown());
if (spawnedBy !== undefined) {
  // The engine has the other end of our standard input, so it closes when the engine ends, even if that was killed.
  process.stdin.once("end", () => void shutDown());
  process.stdin.resume();
}

const server = new grpc.Server({ "grpc.max_receive_message_length": MAX_MESSAGE_BYTES });
server.addService(languageService.LanguageRuntimeService, host);
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  process.stdout.write(`${port}\n`);
});
