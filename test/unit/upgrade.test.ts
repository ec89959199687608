import { describe as suite, expect, it } from "vitest";

import { describe, type Plan } from "../../operations/upgrade.ts";

const PLAN: Plan = {
  accepted: "backend@sha256:1",
  revision: "aa",
  version: "128",
  image: "backend@sha256:2",
  imageRevision: "",
  upgrade: true,
  dashboard: "",
  data: true,
  rehearse: true,
  managed: false,
  needed: 2 * 1024 ** 3,
  free: 5 * 1024 ** 3,
  point: true,
  refused: "",
};

suite("the plan of an upgrade", () => {
  it("shows both images, the room and the way back, and the next command", () => {
    expect(describe("dev", PLAN)).toBe(`Serves:     backend@sha256:1, revision aa, version 128 of the tables
Set:        backend@sha256:2
Rehearsal:  the new image is tried on a copy of the data; needs 2.0 GiB on the volume, which has 5.0 GiB free
Way back:   a restore point is made
Costs:      the API stops while the backend is replaced, for some seconds
Upgrade with: npx pulumi up --stack dev
`);
  });

  it.each<[string, Partial<Plan>, RegExp]>([
    [
      "too little room",
      { free: 1024 ** 3 },
      /\nRefused, because .*: npx pulumi config set --stack dev rehearseImages false\n$/,
    ],
    ["no backups", { point: false }, /Way back: {3}no restore point, because there is no backup yet\n/],
    ["no rehearsal, and no need for room", { rehearse: false, free: 0 }, /Rehearsal: {2}none[^]*Upgrade with:/],
    [
      "that the image is refused",
      { refused: "backendImage: did not serve" },
      /\nRefused: {4}backendImage: did not serve\n$/,
    ],
    ["nothing to do, and no need for room", { upgrade: false, free: 0 }, /sha256:2\nNothing to upgrade\.\n$/],
    [
      "an upgrade of the dashboard alone",
      { upgrade: false, dashboard: "dashboard@sha256:3", free: 0 },
      /\nDashboard: {2}dashboard@sha256:3\nRehearsal: {2}none, because only the dashboard changes\nUpgrade with:/,
    ],
    [
      "that an image is not published, even if the backend's stays",
      { upgrade: false, dashboard: "dashboard@sha256:3", refused: "dashboardImage: cannot be pulled" },
      /\nRefused: {4}dashboardImage: cannot be pulled\n$/,
    ],
    [
      "no backend yet, and no need for room",
      { accepted: "", data: false, free: 0 },
      /^Serves: {5}no backend yet\n[^]*Rehearsal: {2}none[^]*Upgrade with:/,
    ],
  ])("shows %s", (_, change, expected) => {
    expect(describe("dev", { ...PLAN, ...change })).toMatch(expected);
  });
});
