import { quote } from "../../../contract/scripts.ts";
import { npmCommand } from "../../typed.ts";

/** A restore that was interrupted, as machine/backups/swap.sh describes its journal. */
export interface Interrupted {
  phase: string;
  /** Target and stanza, as restore.sh writes them. */
  request: string;
}

/** Whether the restore had changed nothing yet. */
export function isUntouched({ phase }: Interrupted): boolean {
  return phase === "prepare" || phase === "ready";
}

/** The commands that finish the restore, or drop it if it had changed nothing yet. Another restore can take the place of any. */
export function waysOn(stack: string, restore: Interrupted): string {
  const [to, stanza] = splitRequest(restore.request);
  const options = ["--to", quote(to), ...(stanza === "" ? [] : ["--stanza", stanza]), "--yes"];
  const other = isUntouched(restore)
    ? `drop it with: ${npmCommand(stack, "restore", "--forget")}`
    : `restore to another time, see: ${npmCommand(stack, "backup")}`;
  return `finish it with: ${npmCommand(stack, "restore", ...options)}, or ${other}`;
}

/** The target and the stanza: the target may contain a blank. */
function splitRequest(request: string): [to: string, stanza: string] {
  const end = request.lastIndexOf(" ");
  return end < 0 ? [request, ""] : [request.slice(0, end), request.slice(end + 1)];
}
