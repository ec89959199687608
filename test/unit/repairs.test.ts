import { describe, expect, it } from "vitest";

import { error, newContainer, refresh, REMAKE, RUN_SCRIPTS } from "../../operations/drift/finding.ts";
import { costsOf, repairOf } from "../../operations/drift/repairs.ts";
import { repairText, upOf } from "../../operations/drift/report.ts";

const repair = (path: string, found = "another", expected = "this") => repairOf({ path, expected, found });
const SCRIPTS = "/usr/local/lib/convex-droplet";

describe("an up that repairs", () => {
  const up = "npx pulumi up --stack dev";

  it.each([
    [
      "what scripts mend",
      RUN_SCRIPTS,
      `${up} --replace '**convex-server' --replace '**convex-setup'`,
      /unless Docker or/,
    ],
    [
      "a container",
      newContainer("convex-backend"),
      `${up} --refresh --run-program --target '**convex-backend' --target-dependents --replace '**convex-backend'`,
      /^the backend's container is recreated: some seconds without answers$/,
    ],
    [
      "what the engine can read",
      refresh("convex-firewall"),
      `${up} --refresh --run-program --target '**convex-firewall' --target-dependents`,
      /^nothing stops$/,
    ],
    ["a droplet", REMAKE, `${up} --refresh --run-program --skip-preview --yes`, /another address.*minutes/],
  ])("touches nothing but %s, and says what it costs", (_what, repair, command, costs) => {
    expect(repairText("dev", repair)).toBe(command);
    expect(costsOf(repair)).toMatch(costs);
  });

  it("is one for all findings, and costs what all do", () => {
    const findings = [refresh("convex-project"), refresh("convex-network")].map((repair) => error("a", "b", repair));
    expect(upOf(findings)).toMatchObject({
      refresh: ["convex-project", "convex-network"],
      costs: "network and containers are recreated: some seconds without answers",
    });
  });
});

describe("the repair of a difference", () => {
  it("is the scripts', where they mend it", () => {
    expect(repair("files[/etc/docker/daemon.json].content")).toBe(RUN_SCRIPTS);
    expect(repair("links[/opt/convex]", "nothing")).toBe(RUN_SCRIPTS);
  });

  it("copies scripts anew, and does not run those that were changed", () => {
    expect(repair(`files[${SCRIPTS}/host.sh].content`)).toEqual({ up: ["convex-scripts"] });
    expect(repair(`files[${SCRIPTS}/host.sh]`, "nothing", "file")).toEqual({ up: ["convex-scripts"] });
  });

  it.each([
    [`files[${SCRIPTS}/extra.sh]`, "file", "nothing", `rm ${SCRIPTS}/extra.sh`],
    [
      `files[${SCRIPTS}/host.sh].mode`,
      "666 root:root",
      "",
      `chown root:root ${SCRIPTS}/host.sh && chmod go-w ${SCRIPTS}/host.sh`,
    ],
    [
      "links[/opt/convex]",
      "/srv",
      "/mnt/convex",
      "mv --no-target-directory /opt/convex /opt/convex.before && ln -s /mnt/convex /opt/convex",
    ],
    ["sshd.permitrootlogin", "yes", "no", "grep -ri permitrootlogin /etc/ssh/sshd_config /etc/ssh/sshd_config.d"],
    [
      "volume.on[/mnt/convex/data]",
      "a mount of its own, of /dev/vda1[/srv]",
      "",
      "systemctl stop docker.socket docker postgresql && umount /mnt/convex/data && systemctl start postgresql docker",
    ],
  ])("is a person's where the scripts refuse or cannot: %s", (path, found, expected, command) => {
    expect(repair(path, found, expected)).toMatchObject({ why: expect.any(String) as unknown, command });
  });
});
