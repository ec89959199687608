import { size } from "../backups/list.ts";
import { isUntouched, waysOn } from "../findings/backups/interrupted.ts";
import { pulumiCommand } from "../../contract/commands.ts";
import { npmCommand } from "../typed.ts";
import type { Place } from "./destination.ts";
import type { Installation } from "./source.ts";

const BY_EXPORT = 'move it by export and import, see "By export and import" in docs/move-in.md';

/** The stack that the installation should move into. */
export interface Wanted {
  stack: string;
  /** Name and secret of the stack's instance. */
  identity: { name: string; secret: string };
  /** The server with the buckets that the stack's instance keeps its files in; undefined if they are on the volume. */
  bucketServer: string | undefined;
  /** Whether documents of the stack's instance may be replaced. */
  replace: boolean;
}

/** Why the installation cannot move into the stack, with the fix; undefined if it can. Never shows a secret. */
export function refusal(old: Installation, place: Place, wanted: Wanted): string | undefined {
  const { stack, identity, replace } = wanted;
  if (wanted.bucketServer !== undefined) {
    return `stack ${stack}: has its files in buckets at ${wanted.bucketServer}, and the old instance in a folder, which Convex cannot change; ${BY_EXPORT}`;
  }
  if (old.database !== "postgres") {
    const name = old.database === "sqlite" ? "SQLite" : "MySQL";
    return `the old instance: has its rows in ${name}, they should be in PostgreSQL; ${BY_EXPORT}`;
  }
  if (old.storage !== "local") return `the old instance: has its files in S3, they should be in a folder; ${BY_EXPORT}`;
  if (old.identity !== undefined) {
    if (!/^[0-9a-f]{64}$/i.test(old.identity.secret)) {
      return "the old instance: has no secret of 64 hexadecimal digits, neither as INSTANCE_SECRET nor in /convex/data/credentials, so no admin key of it can be kept";
    }
    if (old.identity.name !== identity.name || old.identity.secret.toLowerCase() !== identity.secret.toLowerCase()) {
      return otherIdentity(old.identity.name, old.secretCommand, wanted);
    }
  }
  const interrupted = interruptedRestore(stack, place);
  if (interrupted !== undefined) return interrupted;
  if ((old.version ?? 0) > place.version) {
    return `the old database: is of PostgreSQL ${old.version ?? ""}, the droplet has ${place.version}, which cannot read its dump. Use a stack with image debian-13-x64, or ${BY_EXPORT}`;
  }
  // The rows are also in the write-ahead log, until it is archived.
  const needed = old.bytes.database * 2 + old.bytes.files + 1024 ** 3;
  if (place.free < needed) {
    return `the volume: has ${size(place.free)} free, it should have ${size(needed)}. Grow it with: ${pulumiCommand(stack, "config set", "volumeSizeGb 200")}, then: ${pulumiCommand(stack, "up")}`;
  }
  if (place.ownDocuments > 0 && !replace) {
    return `stack ${stack}: has ${place.ownDocuments} documents and files of its own, it should have none. To put the old instance in their place, and keep them beside it, add: --replace`;
  }
  return undefined;
}

/** Why nothing can take the instance's place while a restore is not finished, with the ways on; undefined if none was interrupted. */
export function interruptedRestore(stack: string, { restoring }: Place): string | undefined {
  if (restoring === undefined) return undefined;
  const is = isUntouched(restoring) ? "was interrupted and had changed nothing yet" : "was interrupted";
  return `the droplet: a restore ${is}, it should be complete. Now, ${waysOn(stack, restoring)}`;
}

/**
 * Why an instance cannot be reset while another swap is not finished, with the ways on.
 *
 * @param request  what was asked for, as the droplet has noted it
 */
export function interruptedSwap(stack: string, request: string): string {
  const [, from = "", to = ""] = /^copy of stack (\S+) to (\S+)$/.exec(request) ?? [];
  const again =
    from === ""
      ? `${npmCommand(stack, "move-in", "--cut-over", "--yes")}, with the other options that it had`
      : npmCommand(stack, "restore", "--from", from, "--to", to, "--yes");
  return `the droplet: a ${request} was interrupted, it should be complete. Now, finish it with: ${again}`;
}

/** Why an instance with another name or secret cannot move in, and the commands that give the stack the same ones. */
export function otherIdentity(name: string, secretCommand: string, { stack, identity }: Wanted): string {
  const differ = name === identity.name ? "another secret" : `another name (${identity.name})`;
  return [
    `stack ${stack}: has ${differ} than the old instance, both should be the same, so that every key stays valid. Set both, then deploy:`,
    `  ${pulumiCommand(stack, "config set", `instanceName ${name}`)}`,
    `  ${secretCommand} | ${pulumiCommand(stack, "config set", "--secret instanceSecret")}`,
    `  ${pulumiCommand(stack, "up")}`,
  ].join("\n");
}
