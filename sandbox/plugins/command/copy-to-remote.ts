import { resource } from "../framework/definition.ts";
import type { Context, Failure, ValuesOf } from "../framework/definition.ts";
import { Archive, Asset } from "../framework/values.ts";
import type { Value } from "../framework/values.ts";
import { connection, withConnection } from "./connection.ts";
import { uniqueId } from "./id.ts";
import { openSftp, upload, writeText } from "./sftp.ts";

const inputs = {
  connection,
  source: { type: "asset", required: true },
  remotePath: { type: "string", required: true },
  triggers: { type: "list", items: { type: "any" }, replaces: true },
} as const;

type Inputs = ValuesOf<typeof inputs>;

/** A file or folder copied to another computer. A delete leaves the copy there, and a refresh does not read it. */
export const copyToRemote = resource<undefined>()({
  inputs,
  outputs: {},
  check: ({ source }) => checkSource(source),
  create: async (context, inputs) => {
    await copy(context, inputs);
    return { id: uniqueId(""), outputs: {} };
  },
  update: async (context, existing, inputs) => {
    const same = existing.inputs.source.hash === inputs.source.hash && existing.inputs.remotePath === inputs.remotePath;
    if (!same) await copy(context, inputs);
    return {};
  },
});

/** The official plugin's rules; in a preview, an unknown source fails too. */
function checkSource(source: Value | undefined): Failure[] {
  if (source instanceof Archive) {
    if (source.path !== undefined) return [];
    return [{ property: "archive", reason: "archive must be a path to a file or directory" }];
  }
  if (source instanceof Asset) {
    if (source.path !== undefined || source.text !== undefined) return [];
    return [{ property: "asset", reason: "asset must be a path-based file asset or a text asset" }];
  }
  return [{ property: "asset", reason: "either asset or archive must be set" }];
}

function copy(context: Context<undefined>, { connection, source, remotePath }: Inputs): Promise<void> {
  return withConnection(context, connection, async (client) => {
    const sftp = await openSftp(client);
    if (source instanceof Asset && source.text !== undefined) await writeText(sftp, source.text, remotePath);
    else await upload(sftp, source.path ?? "", remotePath);
  });
}
