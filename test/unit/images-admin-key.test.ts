import { describe, expect, it } from "vitest";
import {
  type AdminKeyClaims,
  deriveKey,
  instanceSecret,
  mintAdminKey,
  readAdminKey,
} from "../../sandbox/images/backend/admin-key.ts";

const hex = (text: string): Uint8Array => Buffer.from(text, "hex");
const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

const counting = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
const carnitas = hex("4361726e697461732c206c69746572616c6c79206d65616e696e6720226c6974");
const nonce = hex("000102030405060708090a0b");

const member: AdminKeyClaims = {
  issuedSeconds: 1_700_000_000,
  identity: { kind: "member", memberId: 0 },
  isReadOnly: false,
};
const readOnly: AdminKeyClaims = { ...member, isReadOnly: true };
const system: AdminKeyClaims = { ...member, identity: { kind: "system" } };

describe("key derivation", () => {
  it.each([
    [
      "published vector",
      hex("0185fb7661f6dd408d982f810fcd5004"),
      hex("c3f1712a82613643e0f763a7a0a31588b6aed95056dfc512550cf2d00d68a32d"),
      "c63f747b67be71f57ba4562117dd2904",
    ],
    ["counting secret", counting, "admin key", "ce918d08f04afa58eadfa56cf8eedc2a"],
    ["legacy secret", carnitas, "admin key", "a7526e1715ea4effa55636bee910d731"],
  ])("%s", (_name, secret, purpose, derived) => {
    expect(toHex(deriveKey(secret, purpose))).toBe(derived);
  });
});

describe("making a key", () => {
  it.each([
    ["member", counting, member, "c1ecb8d93e1b2750e14eaa848ffe18dbe073d580ccf04391"],
    ["read-only member", counting, readOnly, "07e843e501473d55268c9cf3911e988e12ac15ae0cab262070f3"],
    ["system", counting, system, "b1cd4716354856f046f6c2c13d258e70e11dc2c3b0549fd3"],
    ["member, other secret", carnitas, member, "1e5c06d46516f3f5fa3e99f5af81a957a2adc6f04983839e"],
  ])("%s: exactly the known bytes, and readable again", (_name, secret, claims, sealed) => {
    const key = mintAdminKey("convex-self-hosted", secret, claims, nonce);
    expect(key).toBe(`convex-self-hosted|01000102030405060708090a0b${sealed}`);
    expect(readAdminKey(key, "convex-self-hosted", secret)).toEqual(claims);
  });

  it("makes another key each time, with 74 digits", () => {
    const keys = [1, 2].map(() => mintAdminKey("a", counting, member));
    expect(keys[0]).not.toBe(keys[1]);
    expect(keys[0]).toMatch(/^a\|01[0-9a-f]{72}$/);
  });
});

describe("legacy keys", () => {
  const admin =
    "0135d8598650f8f5cb0f30c34ec2e2bb62793bc28717c8eb6fb577996d50be5f4281b59181095065c5d0f86a2c31ddbe9b597ec62b47ded69782cd";
  const legacySystem =
    "01ec1dc4339bc4a2c653e70016b1e1dea952bcfd707a0cd49c1bddcdfcd4d4a79bb2d6bdfa2f1493a1937cdb71e984c4a7";

  it("reads a key that contains its instance name, with and without the prefix", () => {
    const claims = {
      instanceName: "carnitas",
      issuedSeconds: 1_638_826_753,
      identity: { kind: "member", memberId: 0 },
      isReadOnly: false,
    };
    expect(readAdminKey(admin, "carnitas", carnitas)).toEqual(claims);
    expect(readAdminKey(`carnitas|${admin}`, "carnitas", carnitas)).toEqual(claims);
  });

  it("reads a system key, whose name is only in the prefix", () => {
    expect(readAdminKey(`carnitas|${legacySystem}`, "carnitas", carnitas)).toEqual({
      issuedSeconds: 1_693_517_327,
      identity: { kind: "system" },
      isReadOnly: false,
    });
    expect(() => readAdminKey(legacySystem, "carnitas", carnitas)).toThrow("Key is for invalid instance");
  });
});

describe("refusals", () => {
  const key = mintAdminKey("mine", counting, member);

  it("ignores the part before the first colon of the name", () => {
    expect(readAdminKey(`prod:${key}`, "mine", counting)).toEqual(member);
  });

  it.each([
    ["another name", "other", counting, key, "Key is for invalid instance mine"],
    ["another secret", "mine", carnitas, key, /./],
    ["no hexadecimal", "mine", counting, "mine|zz", "version 1"],
    ["another version", "mine", counting, "mine|02" + key.slice(7), "version 1"],
    ["nothing", "mine", counting, "", "version 1"],
    ["no issue time", "mine", counting, mintAdminKey("mine", counting, { ...member, issuedSeconds: 0 }), "issued_s"],
  ])("%s", (_name, instanceName, secret, given, message) => {
    expect(() => readAdminKey(given, instanceName, secret)).toThrow(message);
  });

  it("shows what is wrong with an instance secret", () => {
    expect(() => instanceSecret("not hexadecimal")).toThrow("Couldn't hexdecode key");
    expect(() => instanceSecret("00ff")).toThrow("Hex-decoded key was 2 bytes, not 32");
    expect(instanceSecret(toHex(counting))).toEqual(Buffer.from(counting));
  });
});
