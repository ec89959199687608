import { expect, it } from "vitest";

import { restoreManaged } from "../../operations/backups/dumped.ts";
import { runRestore } from "../../operations/backups/restore.ts";
import { stateOf } from "./findings.ts";

it("a volume is refused where none is chosen: to put back files, and for a moment of a managed database", async () => {
  await expect(runRestore(["--stack", "dev", "--files", "--stanza", "a-volume"])).rejects.toThrow(
    "--files: puts back files from all of the stack's own backups, also those of earlier volumes, so it should be alone",
  );
  const moment = { to: "2026-11-26T14:05:00Z", stanza: "a-volume", yes: false };
  await expect(restoreManaged(stateOf(), moment)).rejects.toThrow(
    "--stanza: is a-volume, but a moment of a managed database is restored from the cluster's own backups, which belong to no volume. " +
      "Leave it out, or choose a restore point of that volume: npm run backup -- --stack dev list",
  );
});
