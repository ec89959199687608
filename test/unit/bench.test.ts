import { describe, expect, it } from "vitest";

import { divide, type EngineEvent, type TimedEvent } from "../bench/phases.ts";
import { median, spread, table } from "../bench/statistics.ts";

const urn = (type: string, name: string) =>
  `urn:pulumi:bench::convex-droplet::convex-droplet:index:Host$${type}::${name}`;
const DROPLET = urn("digitalocean:index/droplet:Droplet", "convex-droplet");
const SETUP = urn("command:remote:Command", "convex-setup");
const IMAGE = urn("docker:index/remoteImage:RemoteImage", "convex-backend-image");

const begin = (of: string, op = "create"): EngineEvent => ({ resourcePreEvent: { metadata: { urn: of, op } } });
const end = (of: string): EngineEvent => ({ resOutputsEvent: { metadata: { urn: of } } });
const say = (of: string, message: string, severity = "info"): EngineEvent => ({
  diagnosticEvent: { urn: of, message, severity },
});

/** Seconds for each phase, without phases of 0 seconds. */
function seconds(length: number, events: [number, EngineEvent][]): Record<string, number> {
  const timed: TimedEvent[] = events.map(([second, event]) => ({ at: second * 1000, event }));
  return Object.fromEntries(Object.entries(divide(timed, length * 1000)).filter(([, value]) => value > 0));
}

describe("the phases of a run", () => {
  it("count time without a resource operation for the engine", () => {
    expect(seconds(4, [[1, begin(DROPLET, "same")]])).toEqual({ "engine and Node": 4 });
    expect(
      seconds(20, [
        [2, begin(DROPLET)],
        [12, end(DROPLET)],
      ]),
    ).toEqual({ "API and its fixed waits": 10, "engine and Node": 10 });
  });

  it("distinguish connecting, installing and setting up by the script's messages", () => {
    expect(
      seconds(10, [
        [0, begin(SETUP)],
        [1, say(SETUP, "of no interest", "debug")],
        [2, say(SETUP, "waiting for cloud-init")],
        [3, say(SETUP, "installing docker.io")],
        [8, say(SETUP, "installed docker.io")],
        [10, end(SETUP)],
      ]),
    ).toEqual({ "boot and SSH connections": 2, "machine set-up": 3, packages: 5 });
  });

  it("share the time in which they overlap, so that their sum is the run's time", () => {
    expect(
      seconds(8, [
        [0, begin(DROPLET)],
        [4, begin(IMAGE)],
        [8, end(IMAGE)],
        [8, end(DROPLET)],
      ]),
    ).toEqual({ "API and its fixed waits": 6, containers: 2 });
  });

  it("end when an operation fails", () => {
    const failed: EngineEvent = { resOpFailedEvent: { metadata: { urn: IMAGE } } };
    expect(
      seconds(5, [
        [1, begin(IMAGE)],
        [3, failed],
      ]),
    ).toEqual({ containers: 2, "engine and Node": 3 });
  });
});

describe("the report", () => {
  it("shows medians with the lowest and the highest value", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(spread([12, 10, 30])).toBe("12.0 (10.0–30.0)");
  });

  it("aligns its numbers in columns", () => {
    expect(
      table([
        ["", "one"],
        ["packages", "12"],
      ]),
    ).toBe("             one\n  packages    12\n");
  });
});
