import { RESOURCES } from "../contract/names.ts";

/**
 * The command that writes the size of a volume, grown by hand, into the stack's state. Any other refresh compares it with the
 * declared size, and the provider refuses that as an attempt to shrink the volume.
 *
 * @param refresh  the refresh command as the reader types it
 */
export function tellState(refresh: string): string {
  return `PULUMI_ENABLE_LEGACY_REFRESH_DIFF=true ${refresh} --yes --target '**${RESOURCES.volume}'`;
}
