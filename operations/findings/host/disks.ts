import { lines } from "../facts.ts";
import { type Finding, findingsBy } from "../finding.ts";
import type { Inside } from "../inside.ts";
import { shell } from "../shell.ts";

/** From how many percent on a disk is too full. */
export const ALMOST_FULL_PERCENT = 90;

/** Checks the free space on the droplet's disk and on the volume, in bytes and in inodes. */
export function compareDisks(inside: Inside): Finding[] {
  const { warning } = findingsBy("disk", "volume");
  return lines(inside, "disk").flatMap((line) => {
    const [place = "", bytes = "0", inodes = "0"] = line.trim().split(/\s+/);
    const used = Math.max(Number.parseInt(bytes, 10) || 0, Number.parseInt(inodes, 10) || 0);
    if (used < ALMOST_FULL_PERCENT) return [];
    const why = place === "/" ? "find the largest folders" : "grow it with volumeSizeGb, or find the largest folders";
    const seen = { expected: `below ${ALMOST_FULL_PERCENT} %`, found: `${used} %`, message: `is ${used} % full` };
    return [warning(`disk[${place}]`, seen, { why, command: shell`du -xh --max-depth 2 ${place} | sort -h | tail` })];
  });
}
