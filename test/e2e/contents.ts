/** What an instance contains, up to a time. */
export interface Contents {
  /** The time, as the backend notes it. Later documents do not count, because each check of a backend adds some. */
  until: string;
  /** The checksum of the documents. */
  rows: string;
  /** The checksum of all files. */
  files: string;
}

/**
 * @param sh  runs a command as root on the droplet
 * @param until  by default, the newest document's time
 */
export async function contentsOf(sh: (command: string) => Promise<string>, until?: string): Promise<Contents> {
  const ask = (statement: string) =>
    sh(`cd / && runuser -u postgres -- psql -Atd convex_self_hosted -c "${statement}"`);
  const time = until ?? (await ask("SELECT max(ts) FROM documents"));
  return {
    until: time,
    rows: await ask(
      `SELECT md5(string_agg(d::text, '|' ORDER BY ts, table_id, id)) FROM documents d WHERE ts <= ${time}`,
    ),
    files: await sh(
      "cd /mnt/convex/data/storage/files && find . -type f ! -name '.*' | sort | xargs sha256sum | sha256sum",
    ),
  };
}
