import language from "@pulumi/pulumi/proto/language_pb.js";
import type { RunRequest } from "@pulumi/pulumi/proto/language_pb.js";
import struct from "google-protobuf/google/protobuf/struct_pb.js";
import { describe, expect, it } from "vitest";

import { nodeArguments, programArguments, programEnvironment } from "../../sandbox/engine/program.ts";

function runRequest(options: Record<string, string | boolean> = {}): RunRequest {
  const info = new language.ProgramInfo()
    .setRootDirectory("/project")
    .setProgramDirectory("/project/infra")
    .setEntryPoint("index.ts")
    .setOptions(struct.Struct.fromJavaScript(options));
  return new language.RunRequest()
    .setInfo(info)
    .setPwd("/elsewhere")
    .setProject("shop")
    .setStack("dev")
    .setOrganization("organization")
    .setMonitorAddress("127.0.0.1:7001")
    .setParallel(16);
}

describe("the command line of a program", () => {
  it("contains the engine's values under the SDK's names", () => {
    const request = runRequest().setDryrun(true).setArgsList(["one", "two words"]);
    expect(programArguments(request, { engineAddress: "127.0.0.1:7000", tracing: "file:/tmp/trace" })).toEqual([
      ...["--monitor", "127.0.0.1:7001", "--engine", "127.0.0.1:7000", "--organization", "organization"],
      ...["--project", "shop", "--root-directory", "/project", "--stack", "dev", "--pwd", "/project/infra"],
      ...["--parallel", "16", "--tracing", "file:/tmp/trace", "--dry-run", "index.ts", "one", "two words"],
    ]);
  });

  it("does not contain empty values", () => {
    const request = runRequest().setOrganization("");
    expect(programArguments(request, { engineAddress: "" })).toEqual([
      ...["--monitor", "127.0.0.1:7001", "--project", "shop", "--root-directory", "/project", "--stack", "dev"],
      ...["--pwd", "/project/infra", "--parallel", "16", "index.ts"],
    ]);
  });

  it.each([
    ["", []],
    ["--max-old-space-size=512  --trace-warnings", ["--max-old-space-size=512", "--trace-warnings"]],
    [`--title "a b" --import='./c d.js'`, ["--title", "a b", "--import=./c d.js"]],
  ])("splits nodeargs %j as a shell does", (nodeargs, words) => {
    expect(nodeArguments(runRequest({ nodeargs }))).toEqual(words);
  });
});

describe("the environment of a program", () => {
  it("contains the configuration under the SDK's keys, and the list of secret ones", () => {
    const request = runRequest().setConfigsecretkeysList(["shop:password"]);
    request.getConfigMap().set("shop:size", "big").set("shop:password", "hush").set("docker:host", "ssh://a:b");
    expect(programEnvironment(request)).toEqual({
      PULUMI_CONFIG: JSON.stringify({
        "docker:config:host": "ssh://a:b",
        "shop:config:password": "hush",
        "shop:config:size": "big",
      }),
      PULUMI_CONFIG_SECRET_KEYS: JSON.stringify(["shop:password"]),
      PULUMI_NODEJS_TYPESCRIPT: "true",
    });
  });

  it("leaves TypeScript to Node if the project says so", () => {
    const environment = programEnvironment(runRequest({ typescript: false, tsconfig: "tsconfig.infra.json" }));
    expect(environment).toEqual({
      PULUMI_CONFIG: "{}",
      PULUMI_CONFIG_SECRET_KEYS: "[]",
      PULUMI_NODEJS_TSCONFIG_PATH: "tsconfig.infra.json",
    });
  });
});
