import { RESOURCES } from "../contract/names.ts";

/**
 * How a volume that was grown by hand gets into a stack's state. Any other refresh compares it with what is declared, and
 * the provider takes that for an attempt to shrink it.
 *
 * @param refresh  the command that refreshes, as the reader types it
 */
export function tellState(refresh = "npx pulumi refresh"): string {
  return `PULUMI_ENABLE_LEGACY_REFRESH_DIFF=true ${refresh} --yes --target '**${RESOURCES.volume}'`;
}
