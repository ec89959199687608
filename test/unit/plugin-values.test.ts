import googleStruct from "google-protobuf/google/protobuf/struct_pb.js";
import type { JavaScriptValue } from "google-protobuf/google/protobuf/struct_pb.js";
import { describe, expect, test } from "vitest";
import { Archive, Asset, marshal, Secret, UNKNOWN, unmarshal } from "../../sandbox/plugins/framework/values.ts";

// The engine's marks as text, because the framework must understand what the engine sends.
const SIGNATURE = "4dabf18193072939515e22adb298388d";
const UNKNOWN_MARK = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
const SECRET = { [SIGNATURE]: "1b47061264138c4ac30d75fd1eb44270" };
const ASSET = { [SIGNATURE]: "c44067f5952c0a294b673a41bacd8c17" };
const ARCHIVE = { [SIGNATURE]: "0def7320c3a5731c473e5ecbe6d01bc7" };
const RESOURCE = { [SIGNATURE]: "5cf8f73096256a8f31e491e813e4eb8e" };
const OUTPUT = { [SIGNATURE]: "d0e6a833031e9bbcd3f4e8bde6ca49a4" };

function wire(value: Record<string, JavaScriptValue>) {
  return googleStruct.Struct.fromJavaScript(value);
}

describe("values on the wire", () => {
  test.each<[string, JavaScriptValue, unknown]>([
    ["plain values", { a: [1, "x", true, null] }, { a: [1, "x", true, null] }],
    ["unknowns", UNKNOWN_MARK, UNKNOWN],
    ["secrets in lists", [{ ...SECRET, value: "s" }], [new Secret("s")]],
    ["secrets that are not known yet", { ...SECRET, value: UNKNOWN_MARK }, new Secret(UNKNOWN)],
    ["assets", { ...ASSET, text: "t", hash: "h" }, new Asset({ text: "t", hash: "h" })],
    ["assets without contents", { ...ASSET, hash: "h" }, new Asset({ hash: "h" })],
    ["archives by path", { ...ARCHIVE, path: "p", hash: "h" }, new Archive({ path: "p", hash: "h" })],
    [
      "archives of members",
      { ...ARCHIVE, assets: { f: { ...ASSET, text: "t", hash: "h" } }, hash: "i" },
      new Archive({ assets: { f: new Asset({ text: "t", hash: "h" }) }, hash: "i" }),
    ],
  ])("%s are read and written back", (_what, onWire, value) => {
    expect(unmarshal(wire({ value: onWire }))).toEqual({ value });
    expect(marshal({ value }).toJavaScript()).toEqual({ value: onWire });
  });

  test.each<[string, JavaScriptValue, unknown]>([
    ["a known output", { ...OUTPUT, value: 1, dependencies: ["urn"] }, 1],
    ["a secret output", { ...OUTPUT, value: 1, secret: true }, new Secret(1)],
    ["an output without value", { ...OUTPUT }, UNKNOWN],
    ["a secret output without value", { ...OUTPUT, secret: true }, new Secret(UNKNOWN)],
    ["a resource", { ...RESOURCE, urn: "urn", id: "4711" }, "4711"],
    ["a component, which has no id", { ...RESOURCE, urn: "urn" }, "urn"],
  ])("%s becomes its value", (_what, onWire, value) => {
    expect(unmarshal(wire({ value: onWire }))).toEqual({ value });
  });

  test("an unknown signature is an error", () => {
    expect(() => unmarshal(wire({ value: { [SIGNATURE]: "new" } }))).toThrow("a value has the signature new");
  });

  test("undefined members are omitted at any depth", () => {
    expect(marshal({ a: undefined, b: { c: undefined, d: [{ e: undefined }] } }).toJavaScript()).toEqual({
      b: { d: [{}] },
    });
  });
});
