import { test } from "vitest";
import { randomPassword } from "../../sandbox/plugins/random/password.ts";
import { expectSdkProperties } from "./plugin-declarations.ts";

test("RandomPassword has the properties of the npm SDK", () => {
  expectSdkProperties(randomPassword, "random", "randomPassword", "RandomPassword");
});
