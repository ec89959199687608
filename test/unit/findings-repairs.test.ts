import { describe, expect, it } from "vitest";

import type { Difference } from "../../operations/findings/inside.ts";
import {
  combined,
  costsOf,
  newContainer,
  refresh,
  REMAKE,
  repairText,
  ATTACH,
  RUN_BOTH,
  RUN_HOST,
  RUN_POSTGRES,
} from "../../operations/findings/repair.ts";
import { fromScript, repairOf } from "../../operations/findings/scripts.ts";

const DIFFERENCE: Difference = {
  script: "host.sh",
  area: "host",
  subject: "files[/etc/a]",
  property: "",
  expected: "this",
  found: "another",
};
const repair = (given: Partial<Difference>) => repairOf({ ...DIFFERENCE, ...given });
const SCRIPTS = "/usr/local/lib/convex-droplet";

describe("an up that repairs", () => {
  const up = "npx pulumi up --stack dev";

  it.each([
    [
      "what one script repairs",
      RUN_POSTGRES,
      `${up} --replace '**convex-server'`,
      /^PostgreSQL may have to start again: then some seconds without answers$/,
    ],
    [
      "what PostgreSQL stands on",
      RUN_BOTH,
      `${up} --replace '**convex-server' --replace '**convex-setup'`,
      /^Docker may .*; PostgreSQL may /,
    ],
    [
      "a container",
      newContainer("convex-backend"),
      `${up} --refresh --run-program --target '**convex-backend' --target '**convex-rehearsal' --target-dependents --replace '**convex-backend'`,
      /^the backend's container is recreated: some seconds without answers$/,
    ],
    [
      "what the engine can read",
      refresh("convex-firewall"),
      `${up} --refresh --run-program --target '**convex-firewall' --target-dependents`,
      /^nothing stops$/,
    ],
    [
      "what the engine can read, while PostgreSQL may be stopped",
      { up: ["convex-server"], refresh: ["convex-firewall"] },
      `${up} --refresh --run-program --target '**convex-firewall' --target '**convex-server' --target-dependents ` +
        `--skip-preview --yes --replace '**convex-server'`,
      /^PostgreSQL may /,
    ],
    ["a droplet", REMAKE, `${up} --refresh --run-program --skip-preview --yes`, /another address.*minutes/],
  ])("changes only %s, and says what it costs", (_what, repair, command, costs) => {
    expect(repairText("dev", repair)).toBe(command);
    expect(costsOf(repair)).toMatch(costs);
  });

  it("is one command for all findings, with all their costs", () => {
    expect(combined([refresh("convex-project"), { why: "look" }, refresh("convex-network")])).toMatchObject({
      refresh: ["convex-project", "convex-network"],
      costs: "network and containers are recreated: some seconds without answers",
    });
  });
});

describe("the repair of a difference", () => {
  it("runs the script that found it, and PostgreSQL's too if PostgreSQL depends on it", () => {
    expect(repair({ subject: "files[/etc/docker/daemon.json]", property: "content" })).toEqual(RUN_HOST);
    expect(repair({ script: "postgres.sh", area: "postgres", subject: "sysctl" })).toEqual(RUN_POSTGRES);
    expect(repair({ script: "volume.sh", area: "volume", subject: "volume", property: "device" })).toBe(ATTACH);
    expect(repair({ subject: "links[/opt/convex]", found: "nothing" })).toEqual(RUN_HOST);
    expect(repair({ script: "postgres.sh", area: "postgres", subject: "postgres", property: "volume" })).toBe(RUN_BOTH);
  });

  it("copies changed scripts again, and runs none of them", () => {
    expect(repair({ subject: `files[${SCRIPTS}/host/host.sh]`, property: "content" })).toEqual({
      up: ["convex-scripts"],
    });
    expect(repair({ subject: `files[${SCRIPTS}/host/host.sh]`, found: "nothing", expected: "file" })).toEqual({
      up: ["convex-scripts"],
    });
  });

  it.each([
    [`files[${SCRIPTS}/extra.sh]`, "", "file", "nothing", `rm ${SCRIPTS}/extra.sh`],
    [
      `files[${SCRIPTS}/host/host.sh]`,
      "mode",
      "666 root:root",
      "",
      `chown root:root ${SCRIPTS}/host/host.sh && chmod go-w ${SCRIPTS}/host/host.sh`,
    ],
    [`files[${SCRIPTS}]`, "mode", "777 root:root", "", `chown root:root ${SCRIPTS} && chmod go-w ${SCRIPTS}`],
    [
      "links[/opt/convex]",
      "",
      "/srv",
      "/mnt/convex",
      "mv --no-target-directory /opt/convex /opt/convex.before && ln -s /mnt/convex /opt/convex",
    ],
    ["sshd", "permitrootlogin", "yes", "no", "grep -ri permitrootlogin /etc/ssh/sshd_config /etc/ssh/sshd_config.d"],
    [
      "volume.on[/mnt/convex/data]",
      "",
      "a mount of its own, of /dev/vda1[/srv]",
      "",
      "systemctl stop docker.socket docker postgresql && umount /mnt/convex/data && systemctl start postgresql docker",
    ],
    ["volume.on[/mnt/convex/data]", "", "a link to /srv", "", "systemctl stop docker.socket docker postgresql"],
  ])("is a command for you if the scripts refuse or cannot: %s", (subject, property, found, expected, command) => {
    expect(repair({ subject, property, found, expected })).toMatchObject({
      why: expect.any(String) as unknown,
      command,
    });
  });
});

describe("a difference as findings", () => {
  it("is one, with what it is and what it should be", () => {
    expect(fromScript({ ...DIFFERENCE, property: "mode", expected: "644", found: "666" })).toEqual([
      {
        ...{ area: "host", source: "host.sh", subject: "files[/etc/a]", property: "mode", path: "files[/etc/a].mode" },
        ...{ severity: "error", expected: "644", found: "666", message: "is 666, it should be 644", repair: RUN_HOST },
      },
    ]);
  });

  it("is about the whole if it names no property", () => {
    expect(fromScript(DIFFERENCE)).toMatchObject([
      { subject: "files[/etc/a]", path: "files[/etc/a]", message: "is another, it should be this" },
    ]);
  });

  it("is one if a text was one line and not a file's", () => {
    const messages = fromScript({ ...DIFFERENCE, found: "a\nb" }).map(({ message }) => message);
    expect(messages).toEqual(["is a\nb, it should be this"]);
  });

  it.each<[what: string, given: Partial<Difference>, expected: string[]]>([
    [
      "of a file",
      { property: "content", expected: "one\ntwo\nthree\n", found: "zero\none\nthree\nit's\n" },
      [
        'files[/etc/a].content: unexpected line 1 "zero"',
        'files[/etc/a].content: missing line "two"',
        `files[/etc/a].content: unexpected line 4 "it's"`,
      ],
    ],
    [
      "of anything that has several",
      { property: "values", expected: "one\ntwo", found: "one" },
      ['files[/etc/a].values: missing line "two"'],
    ],
    [
      "of PostgreSQL's access rules, under the name that its documentation uses",
      {
        subject: "files[/etc/postgresql/17/main/pg_hba.d/10-convex-droplet.conf]",
        property: "content",
        expected: "one\ntwo\n",
        found: "one\nthree\n",
      },
      ['postgres.pg_hba: missing line "two"', 'postgres.pg_hba: unexpected line 2 "three"'],
    ],
    ["of a text that is the same", { property: "content", expected: "one\n", found: "one\n" }, []],
  ])("is one for each line %s", (_, given, expected) => {
    const findings = fromScript({ ...DIFFERENCE, ...given });
    expect(findings.map(({ path, message }) => `${path}: ${message}`).toSorted()).toEqual(expected.toSorted());
  });
});
