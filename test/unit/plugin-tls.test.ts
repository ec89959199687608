import { test } from "vitest";
import { privateKey } from "../../sandbox/plugins/tls/private-key.ts";
import { expectSdkProperties } from "./plugin-declarations.ts";

test("PrivateKey has the properties of the npm SDK", () => {
  expectSdkProperties(privateKey, "tls", "privateKey", "PrivateKey");
});
