import { expect, it } from "vitest";

import { isElsewhere } from "../../operations/doctor/examine.ts";
import { type Area, findingsBy, type Severity } from "../../operations/findings/finding.ts";

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
