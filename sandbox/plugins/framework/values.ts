import googleStruct from "google-protobuf/google/protobuf/struct_pb.js";
import type { JavaScriptValue, Struct } from "google-protobuf/google/protobuf/struct_pb.js";

/** A property's value as the engine sends it: JSON, and Pulumi's special values. */
export type Value =
  | null
  | boolean
  | number
  | string
  | Value[]
  | { [key: string]: Value }
  | typeof UNKNOWN
  | Secret
  | Asset
  | Archive;

/** The properties of a resource, a provider or a function call. */
export type PropertyBag = Record<string, Value>;

/** A value that only an operation can know, which the preview does not do. */
export const UNKNOWN: unique symbol = Symbol("unknown");

/** A value that the engine keeps encrypted. */
export class Secret {
  readonly value: Value;
  constructor(value: Value) {
    this.value = value;
  }
}

/** A file: its text, its path on this computer, or its URL. A state may only have the hash. */
export class Asset {
  readonly text?: string;
  readonly path?: string;
  readonly uri?: string;
  /** SHA-256 of the contents, in hexadecimal. */
  readonly hash!: string;
  constructor(source: AssetSource) {
    Object.assign(this, source);
  }
}

/** Files in folders: named members, the path of a folder or an archive file, or a URL. */
export class Archive {
  readonly assets?: PropertyBag;
  readonly path?: string;
  readonly uri?: string;
  readonly hash!: string;
  constructor(source: ArchiveSource) {
    Object.assign(this, source);
  }
}

interface AssetSource {
  text?: string;
  path?: string;
  uri?: string;
  hash: string;
}

interface ArchiveSource {
  assets?: PropertyBag;
  path?: string;
  uri?: string;
  hash: string;
}

// The engine's marks, from the wire format of pulumi/sdk/go/common/resource.
const UNKNOWN_MARK = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
const SIGNATURE = "4dabf18193072939515e22adb298388d";
const SECRET = "1b47061264138c4ac30d75fd1eb44270";
const ASSET = "c44067f5952c0a294b673a41bacd8c17";
const ARCHIVE = "0def7320c3a5731c473e5ecbe6d01bc7";
const RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e";
const OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4";

/** Reads properties from the wire format. An Output becomes its value, a resource reference the resource's id. */
export function unmarshal(struct: Struct | undefined): PropertyBag {
  return struct ? decodeObject(struct.toJavaScript()) : {};
}

/** Writes properties in the wire format, without undefined members. */
export function marshal(bag: Readonly<Record<string, unknown>>): Struct {
  return googleStruct.Struct.fromJavaScript(encodeEntries(bag));
}

/** The value without any secret mark, at any depth. */
export function reveal(value: Value): Value {
  if (value instanceof Secret) return reveal(value.value);
  if (Array.isArray(value)) return value.map(reveal);
  if (isObject(value)) return mapValues(value, reveal);
  return value;
}

/** Whether the predicate is true for the value or anything inside it. */
function contains(value: Value, predicate: (value: Value) => boolean): boolean {
  if (predicate(value)) return true;
  if (value instanceof Secret) return contains(value.value, predicate);
  if (Array.isArray(value)) return value.some((item) => contains(item, predicate));
  return isObject(value) && Object.values(value).some((item) => contains(item, predicate));
}

export function containsUnknown(value: Value): boolean {
  return contains(value, (inner) => inner === UNKNOWN);
}

export function containsSecret(value: Value): boolean {
  return contains(value, (inner) => inner instanceof Secret);
}

/** Whether the value is a map or an object, not a list or a special value. */
export function isObject(value: unknown): value is Record<string, Value> {
  return (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Secret) &&
    !(value instanceof Asset) &&
    !(value instanceof Archive)
  );
}

export function mapValues<From, To>(object: Record<string, From>, map: (value: From, key: string) => To) {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, map(value, key)]));
}

type Wire = Record<string, unknown>;

function decode(wire: unknown): Value {
  if (wire === UNKNOWN_MARK) return UNKNOWN;
  if (Array.isArray(wire)) return wire.map(decode);
  if (typeof wire !== "object" || wire === null) return wire as null | boolean | number | string;
  return decodeMarked(wire as Wire);
}

function decodeMarked(wire: Wire): Value {
  switch (wire[SIGNATURE]) {
    case undefined:
      return decodeObject(wire);
    case SECRET:
      return new Secret(decode(wire["value"]));
    case OUTPUT: {
      const value = "value" in wire ? decode(wire["value"]) : UNKNOWN;
      return wire["secret"] === true ? new Secret(value) : value;
    }
    case RESOURCE:
      return decode(wire["id"] ?? wire["urn"]);
    case ASSET:
      return new Asset(withoutSignature(wire) as unknown as AssetSource);
    case ARCHIVE: {
      const { assets, ...source } = withoutSignature(wire) as Omit<ArchiveSource, "assets"> & { assets?: Wire };
      return new Archive(assets ? { ...source, assets: decodeObject(assets) } : source);
    }
    default:
      throw new Error(`a value has the signature ${String(wire[SIGNATURE])}, which this plugin does not know`);
  }
}

function decodeObject(wire: Wire): PropertyBag {
  return mapValues(wire, decode);
}

function withoutSignature(wire: Wire): Wire {
  return Object.fromEntries(Object.entries(wire).filter(([key]) => key !== SIGNATURE));
}

function encode(value: unknown): JavaScriptValue {
  if (value === UNKNOWN) return UNKNOWN_MARK;
  if (value instanceof Secret) return { [SIGNATURE]: SECRET, value: encode(value.value) };
  if (value instanceof Asset) return { [SIGNATURE]: ASSET, ...encodeEntries(value) };
  if (value instanceof Archive) return { [SIGNATURE]: ARCHIVE, ...encodeEntries(value) };
  if (Array.isArray(value)) return value.map(encode);
  if (isObject(value)) return encodeEntries(value);
  return value as null | boolean | number | string;
}

function encodeEntries(object: object): Record<string, JavaScriptValue> {
  const present = Object.entries(object).filter(([, value]) => value !== undefined);
  return Object.fromEntries(present.map(([key, value]) => [key, encode(value)]));
}
