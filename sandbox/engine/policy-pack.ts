import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

import grpc from "@grpc/grpc-js";
import analyzerService from "@pulumi/pulumi/proto/analyzer_grpc_pb.js";
import analyzer from "@pulumi/pulumi/proto/analyzer_pb.js";
import type { AnalyzerStackConfigureRequest } from "@pulumi/pulumi/proto/analyzer_pb.js";
import type { RunPluginRequest } from "@pulumi/pulumi/proto/language_pb.js";

import { untilEnd } from "./child-process.ts";
import { modulePath } from "./program.ts";

/** Where the output of a policy pack goes. The engine reads the port from the first line of stdout. */
interface Output {
  stdout: (text: Uint8Array) => void;
  stderr: (text: Uint8Array) => void;
}

/** The engine's limit, for all of a stack's resources in one message. */
const MESSAGES = { "grpc.max_receive_message_length": 400 * 1024 * 1024, "grpc.max_send_message_length": -1 };

/** The calls that a Node policy pack answers. The others are optional for the engine. */
const CALLS = [
  "configureStack",
  "getPluginInfo",
  "getAnalyzerInfo",
  "configure",
  "remediate",
  "analyze",
  "analyzeStack",
] as const;

/**
 * Runs a Node policy pack until the engine no longer needs it: `signal` aborts. The pack reads the stack's name and configuration from its
 * environment when it starts, but the engine tells them only to a pack that runs. So, as in the official host, this server takes the
 * engine's calls, starts the pack with the first one, and passes all of them on.
 *
 * @throws Error if the pack cannot be started, or ends with an error
 */
export async function runPolicyPack(request: RunPluginRequest, output: Output, signal: AbortSignal): Promise<void> {
  const ended = Promise.withResolvers<unknown>();
  let pack: Promise<grpc.Client> | undefined;
  const start = (stack?: AnalyzerStackConfigureRequest) => {
    const [client, end] = startPack(request, stack, output, signal);
    end.then(ended.resolve, ended.reject);
    return client;
  };

  const server = new grpc.Server(MESSAGES);
  const service = Object.fromEntries(
    CALLS.map((name) => [name, { ...analyzerService.AnalyzerService[name], ...UNREAD }] as const),
  );
  const pass = (name: (typeof CALLS)[number]): grpc.handleUnaryCall<Buffer, Buffer> => {
    const { path } = analyzerService.AnalyzerService[name];
    return ({ request: bytes }, reply) => {
      pack ??= start(
        name === "configureStack" ? analyzer.AnalyzerStackConfigureRequest.deserializeBinary(bytes) : undefined,
      );
      pack.then(
        (client) => {
          client.makeUnaryRequest(path, asItIs, asItIs, bytes, reply);
        },
        (error: unknown) => {
          reply({ code: grpc.status.UNAVAILABLE, details: error instanceof Error ? error.message : String(error) });
        },
      );
    };
  };
  server.addService(service, Object.fromEntries(CALLS.map((name) => [name, pass(name)])));
  const giveUp = () => {
    if (pack === undefined) ended.resolve(undefined);
  };
  signal.addEventListener("abort", giveUp, { once: true });
  server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
    if (error === null) output.stdout(Buffer.from(`${port}\n`));
    else ended.reject(error);
  });
  try {
    await ended.promise;
  } finally {
    server.forceShutdown();
  }
}

/** Messages are passed on as bytes. */
const asItIs = (bytes: Buffer) => bytes;
const UNREAD = {
  requestSerialize: asItIs,
  requestDeserialize: asItIs,
  responseSerialize: asItIs,
  responseDeserialize: asItIs,
};

/** @returns the pack's client, once it listens, and its end */
function startPack(
  request: RunPluginRequest,
  stack: AnalyzerStackConfigureRequest | undefined,
  output: Output,
  signal: AbortSignal,
): [Promise<grpc.Client>, Promise<void>] {
  const directory = request.getInfo()?.getProgramDirectory() ?? request.getPwd();
  const runner = modulePath(directory, "@pulumi/pulumi/cmd/run-policy-pack");
  if (runner === undefined) {
    const error = new Error(`${directory}: its packages are not installed, they should be. Run npm install there.`);
    return [Promise.reject(error), Promise.reject(error)];
  }
  const node = spawn(process.execPath, [runner, ...request.getArgsList(), directory], {
    cwd: directory,
    env: { ...Object.fromEntries(request.getEnvList().map(assignment)), ...stackEnvironment(stack) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  node.stderr.on("data", output.stderr);
  const end = untilEnd(node, signal).then((code) => {
    if (code !== 0 && !signal.aborted) throw new Error(`${directory}: exited with code ${code}, should be 0`);
  });
  const client = new Promise<grpc.Client>((resolve, reject) => {
    const lines = createInterface({ input: node.stdout });
    lines.once("line", (port) => {
      resolve(new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), MESSAGES));
      lines.on("line", (line) => {
        output.stdout(Buffer.from(`${line}\n`));
      });
    });
    end.then(() => {
      reject(new Error(`${directory}: ended before it listened`));
    }, reject);
  });
  return [client, end];
}

/** What the SDK reads a stack's name and configuration from. */
function stackEnvironment(stack: AnalyzerStackConfigureRequest | undefined): Record<string, string> {
  if (stack === undefined) return {};
  return {
    PULUMI_NODEJS_ORGANIZATION: stack.getOrganization(),
    PULUMI_NODEJS_PROJECT: stack.getProject(),
    PULUMI_NODEJS_STACK: stack.getStack(),
    PULUMI_NODEJS_DRY_RUN: String(stack.getDryRun()),
    PULUMI_CONFIG: JSON.stringify(Object.fromEntries(stack.getConfigMap().toArray())),
  };
}

/** `NAME=value` as name and value. */
function assignment(text: string): [string, string] {
  const end = text.indexOf("=");
  return [text.slice(0, end), text.slice(end + 1)];
}
