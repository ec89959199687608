import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import path from "node:path";

import language from "@pulumi/pulumi/proto/language_pb.js";
import type { RunRequest, RunResponse } from "@pulumi/pulumi/proto/language_pb.js";

import { untilEnd } from "./child-process.ts";

/** The addresses for a run, besides its request. */
export interface RunContext {
  /** `host:port` of the engine's log service. */
  engineAddress: string;
  /** Zipkin endpoint; only if the engine was started with `--tracing`. */
  tracing?: string | undefined;
}

/** The `runtime.options` of Pulumi.yaml that matter for a run. */
interface RuntimeOptions {
  typescript?: boolean;
  tsconfig?: string;
  nodeargs?: string;
}

/** `@pulumi/pulumi/cmd/run` exits with this code if it has already shown the error to the user. */
const EXITED_AFTER_REPORTING = 32;

/**
 * Runs the program of one deployment to its end, or until `signal` aborts. Its output goes to the host's output,
 * unchanged.
 */
export async function runProgram(request: RunRequest, context: RunContext, signal: AbortSignal): Promise<RunResponse> {
  const response = new language.RunResponse();
  const entry = modulePath(programDirectory(request), "@pulumi/pulumi/cmd/run");
  if (entry === undefined) {
    return response.setError("It looks like the Pulumi SDK has not been installed. Have you run pulumi install?");
  }
  const node = spawn(process.execPath, [...nodeArguments(request), entry, ...programArguments(request, context)], {
    cwd: programDirectory(request),
    env: { ...process.env, ...programEnvironment(request) },
    stdio: ["ignore", "inherit", "inherit"],
  });
  const code = await untilEnd(node, signal);
  if (code === EXITED_AFTER_REPORTING) return response.setBail(true);
  return code === 0 ? response : response.setError(`Program exited with non-zero exit code: ${code}`);
}

/** The command line after `@pulumi/pulumi/cmd/run`, without empty values. */
export function programArguments(request: RunRequest, context: RunContext): string[] {
  const flags = {
    monitor: request.getMonitorAddress(),
    engine: context.engineAddress,
    organization: request.getOrganization(),
    project: request.getProject(),
    "root-directory": request.getInfo()?.getRootDirectory(),
    stack: request.getStack(),
    pwd: programDirectory(request),
    parallel: String(request.getParallel()),
    tracing: context.tracing,
  };
  return [
    ...Object.entries(flags).flatMap(([name, value]) => (value ? [`--${name}`, value] : [])),
    ...(request.getDryrun() ? ["--dry-run"] : []),
    request.getInfo()?.getEntryPoint() ?? ".",
    ...request.getArgsList(),
  ];
}

/** The program's environment, in addition to the host's: the stack's configuration, and how to load TypeScript. */
export function programEnvironment(request: RunRequest): Record<string, string> {
  const { typescript = true, tsconfig } = runtimeOptions(request);
  const config = request.getConfigMap().toArray();
  return {
    PULUMI_CONFIG: JSON.stringify(Object.fromEntries(config.map(([key, value]) => [runtimeConfigKey(key), value]))),
    PULUMI_CONFIG_SECRET_KEYS: JSON.stringify(request.getConfigsecretkeysList()),
    ...(typescript && { PULUMI_NODEJS_TYPESCRIPT: "true" }),
    ...(tsconfig !== undefined && { PULUMI_NODEJS_TSCONFIG_PATH: tsconfig }),
  };
}

/** Node's arguments from `runtime.options.nodeargs`: words between blanks; a word in quotes may contain blanks. */
export function nodeArguments(request: RunRequest): string[] {
  const { nodeargs = "" } = runtimeOptions(request);
  const words = nodeargs.match(/(?:[^\s"']|"[^"]*"|'[^']*')+/g) ?? [];
  return words.map((word) => word.replace(/"([^"]*)"|'([^']*)'/g, "$1$2"));
}

/** The SDK reads configuration as `namespace:config:name`; the engine sends `namespace:name`. */
function runtimeConfigKey(key: string): string {
  return key.replace(":", ":config:");
}

function runtimeOptions(request: RunRequest): RuntimeOptions {
  return request.getInfo()?.getOptions()?.toJavaScript() ?? {};
}

function programDirectory(request: RunRequest): string {
  return request.getInfo()?.getProgramDirectory() ?? request.getPwd();
}

/** A module of the program's SDK, whose version may differ from the host's; undefined if it is not installed. */
export function modulePath(directory: string, module: string): string | undefined {
  try {
    return createRequire(path.join(directory, "program.js")).resolve(module);
  } catch {
    return undefined;
  }
}
