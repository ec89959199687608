import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import { namedValues } from "../../contract/scripts.ts";
import { healthy, unhealthy } from "../../operations/doctor/check.ts";
import { examine, isElsewhere } from "../../operations/doctor/examine.ts";
import { type Area, findingsBy, type Severity } from "../../operations/findings/finding.ts";
import type { Difference } from "../../operations/findings/inside.ts";
import { State } from "../../operations/state.ts";
import { insideOf, stateOf } from "./findings.ts";

// All unit tests share a process: another file may have imported what this one mocks.
vi.hoisted(() => vi.resetModules());
const [inspect, examineAnswers, readIgnored] = vi.hoisted(() => [vi.fn(), vi.fn(), vi.fn()]);
vi.mock(import("../../operations/setting.ts"), async (original) => ({ ...(await original()), readIgnored }));
vi.mock(import("../../operations/findings/look.ts"), async (original) => ({ ...(await original()), inspect }));
vi.mock(import("../../operations/doctor/answers.ts"), () => ({ examineAnswers }));

beforeEach(() => {
  readIgnored.mockResolvedValue([]);
});

afterEach(() => {
  vi.restoreAllMocks();
});

it.each<[Severity, Area, string, boolean]>([
  ["warning", "host", "users.a", true],
  ["error", "cloud", "cloud.convex-firewall", true],
  ["error", "containers", "files[/etc/docker/daemon.json]", true],
  ["error", "postgres", "packages", true],
  ["error", "volume", "volume", false],
  ["error", "containers", "containers.convex-backend", false],
  ["notice", "host", "users.a", false],
])("a finding counts as elsewhere if no check shows it: %s %s %s", (severity, area, subject, counts) => {
  const finding = findingsBy("fact", area)[severity](subject, { message: "differs" }, { why: "look" });
  expect(isElsewhere(finding, true)).toBe(counts);
});

it("a changed file counts as shown if the backend does not serve", () => {
  const file = findingsBy("host.sh", "containers").error("files[/etc/docker/daemon.json]", {}, { why: "look" });
  expect(isElsewhere(file, false)).toBe(false);
});

describe("the check of the names", () => {
  const answer = { said: healthy("from here", "answers"), wrong: unhealthy("from here", []) };
  const edge = (api: string) => ({
    ...{ type: TYPES.command, name: RESOURCES.edge },
    inputs: { stdin: namedValues({ api_host: api, address: "192.0.2.7" }) },
  });
  const difference = (subject: string, property: string, expected: string, found: string): Difference => ({
    ...{ script: "edge.sh", area: "edge", subject, property, expected, found },
  });
  async function examined(answers: typeof answer.said, facts: Record<string, string>, ...given: Difference[]) {
    const key = { type: TYPES.key, name: RESOURCES.deployKey, outputs: { publicKeyOpenssh: "ssh-ed25519 A" } };
    vi.spyOn(State, "read").mockResolvedValue(stateOf(key, edge("api.example.com")));
    inspect.mockResolvedValue(insideOf({ "backend.version": "1", ...facts }, ...given));
    examineAnswers.mockResolvedValue(answers);
    const { stations } = await examine("dev");
    return stations;
  }
  const file = difference("files[/etc/nginx/convex-droplet/sites.conf]", "", "file", "nothing");

  it("is the last one on the droplet", async () => {
    const names = (await examined(answer.said, {})).map(({ name }) => name);
    expect(names.slice(-4)).toEqual(["backend", "backups", "names", "from here"]);
  });

  it.each<[what: string, facts: Record<string, string>, differences: Difference[], symptom: string, cure: RegExp]>([
    [
      "an expired certificate",
      {},
      [difference("edge.certificate", "validity", "in time", "expired on 2026-11-01")],
      "edge.certificate.validity: is expired on 2026-11-01, it should be in time",
      /--replace '\*\*convex-edge'$/,
    ],
    [
      "a stopped nginx",
      {},
      [difference("units.nginx.service", "active", "active", "inactive")],
      "units.nginx.service.active: is inactive, it should be active",
      /--replace '\*\*convex-edge'$/,
    ],
    [
      "a name that leads elsewhere",
      { "edge.names": "api.example.com 198.51.100.1" },
      [],
      "edge.names[api.example.com]: leads to 198.51.100.1, it should lead to 192.0.2.7",
      /^set the record A api.example.com 192.0.2.7/,
    ],
  ])("shows %s, and its fix", async (_, facts, differences, symptom, cure) => {
    const names = (await examined(answer.said, facts, ...differences)).find(({ name }) => name === "names");
    expect(names?.ailments).toEqual([
      expect.objectContaining({ symptom, cure: expect.stringMatching(cure) as string }),
    ]);
  });

  it.each([
    ["shows a changed file if the URLs do not answer from here", answer.wrong, 1],
    ["leaves a changed file to drift if they do", answer.said, 0],
  ])("%s", async (_, answers, count) => {
    const names = (await examined(answers, {}, file)).find(({ name }) => name === "names");
    expect(names?.ailments).toHaveLength(count);
  });

  it("leaves out what the stack's settings ignore", async () => {
    readIgnored.mockResolvedValue(["files[/etc/nginx/convex-droplet/*"]);
    const names = (await examined(answer.wrong, {}, file)).find(({ name }) => name === "names");
    expect(names?.ailments).toEqual([]);
  });

  it("is healthy without a domain, and says so", async () => {
    await examined(answer.said, {});
    const key = { type: TYPES.key, name: RESOURCES.deployKey, outputs: { publicKeyOpenssh: "ssh-ed25519 A" } };
    vi.spyOn(State, "read").mockResolvedValue(stateOf(key, edge("")));
    const { stations } = await examine("dev");
    expect(stations.find(({ name }) => name === "names")).toMatchObject({ status: "well", said: "no domain is set" });
  });
});
