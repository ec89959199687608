import { describe, expect, it } from "vitest";

import { RUN_SCRIPTS } from "../../operations/drift/finding.ts";
import { repairOf } from "../../operations/drift/repairs.ts";

const repair = (path: string, found = "another", expected = "this") => repairOf({ path, expected, found });
const SCRIPTS = "/usr/local/lib/convex-droplet";

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
