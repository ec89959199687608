import { describe, expect, it } from "vitest";

import { type AdminKeyRights, mintAdminKey, sealAdminKey } from "../../contract/admin-key.ts";
import { readAdminKey } from "../../sandbox/images/backend/admin-key.ts";

const COUNTING = Buffer.from(Array.from({ length: 32 }, (_, index) => index));
const NONCE = COUNTING.subarray(0, 12);
const ISSUED = 1_700_000_000n;

describe("an admin key", () => {
  // Vectors made with two other implementations of AES-GCM-SIV.
  it.each([
    [COUNTING, "01000102030405060708090a0bc1ecb8d93e1b2750e14eaa848ffe18dbe073d580ccf04391"],
    [
      Buffer.from("4361726e697461732c206c69746572616c6c79206d65616e696e6720226c6974", "hex"),
      "01000102030405060708090a0b1e5c06d46516f3f5fa3e99f5af81a957a2adc6f04983839e",
    ],
  ])("is encrypted as the backend does it", (secret, expected) => {
    expect(sealAdminKey("carnitas", secret, NONCE, ISSUED)).toBe(`carnitas|${expected}`);
  });

  it("encodes read-only rights in the backend's format", () => {
    expect(sealAdminKey("carnitas", COUNTING, NONCE, ISSUED, { readOnly: true })).toBe(
      "carnitas|01000102030405060708090a0b07e843e501473d55268c9cf3911e988e12ac15ae0cab262070f3",
    );
  });

  it("is the same each time, and differs for another secret or other rights", () => {
    const secret = COUNTING.toString("hex");
    expect(mintAdminKey("a", secret)).toBe(mintAdminKey("a", secret));
    expect(mintAdminKey("a", secret)).toMatch(/^a\|01[0-9a-f]{72}$/);
    expect(mintAdminKey("a", secret)).not.toBe(mintAdminKey("a", "f".repeat(64)));
    expect(mintAdminKey("a", secret, { readOnly: false })).toBe(mintAdminKey("a", secret));
    expect(mintAdminKey("a", secret, { readOnly: true })).toBe(mintAdminKey("a", secret, { readOnly: true }));
    expect(mintAdminKey("a", secret, { readOnly: true })).toMatch(/^a\|01[0-9a-f]{76}$/);
  });

  it("is read by the sandbox's own parser as full or read-only", () => {
    const secret = COUNTING.toString("hex");
    const read = (rights: AdminKeyRights) => readAdminKey(mintAdminKey("a", secret, rights), "a", COUNTING).isReadOnly;
    expect([read({}), read({ readOnly: true })]).toEqual([false, true]);
  });

  it("refuses a secret that is not 32 bytes of hexadecimal, without repeating it", () => {
    expect(() => mintAdminKey("a", "secret")).toThrow("INSTANCE_SECRET: should be 64 hexadecimal digits");
  });
});
