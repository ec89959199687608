import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";
import { expect, it } from "vitest";

/** What open_other writes for pgBackRest. Folders and groups are the droplet's, so their commands only make the folder. */
async function settingsForCopy(folder: string): Promise<string> {
  const script = `
    set -euo pipefail
    source machine/backups/repository.sh
    source machine/move-in/from-backup.sh
    install() { mkdir -p "$OTHER"; }
    chgrp() { true; }
    for name in "\${REPOSITORY_VALUES[@]}"; do printf -v "$name" '%s' "of-$name"; done
    OTHER=$1 MOUNTPOINT=/mnt/convex copy=/mnt/convex/backups/drill
    open_other other_database
    cat "$OTHER/pgbackrest.conf"
    printf '%s\\n' "$DATABASE"`;
  return (await execa("bash", ["-c", script, "-", path.join(folder, "other")])).stdout;
}

it("a copy of another stack reads that stack's repository, whatever the size of its volume", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "copy-settings-"));
  try {
    const settings = (await settingsForCopy(folder)).split("\n");
    expect(settings).toContain("repo1-s3-bucket=of-repository_bucket");
    expect(settings).toContain(`repo1-storage-ca-file=${folder}/other/authority.pem`);
    expect(settings).toContain("[of-stanza]");
    expect(settings.at(-1)).toBe("other_database");
  } finally {
    await rm(folder, { recursive: true });
  }
});
