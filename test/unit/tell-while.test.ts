import * as pulumi from "@pulumi/pulumi";
import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { tellWhile } from "../../components/tell-while.ts";
import { mockEngine } from "./program.ts";

beforeEach(async () => {
  await mockEngine();
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "Date"] });
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

it("a line every half a minute says how long an operation has taken, until its end", async () => {
  const told = vi.spyOn(pulumi.log, "info").mockResolvedValue();
  const args = { urn: "urn", id: "", name: "x", type: "x" };
  const { begin, end } = tellWhile("convex", "the database cluster", "usually 3 to 8 minutes");
  await begin.callback(args);
  vi.advanceTimersByTime(65_000);
  await end.callback(args);
  vi.advanceTimersByTime(65_000);
  expect(told.mock.calls).toEqual([
    ["the database cluster: DigitalOcean has been at work for 30 s, usually 3 to 8 minutes"],
    ["the database cluster: DigitalOcean has been at work for 60 s, usually 3 to 8 minutes"],
  ]);
});
