import { once } from "node:events";

import type pg from "pg";

/** What a client of the driver's has, but does not declare: its connection, which speaks the protocol of replication. */
interface Connection extends NodeJS.EventEmitter {
  sendCopyFromChunk: (chunk: Buffer) => void;
}

const [DATA, KEEPALIVE, STATUS] = ["w", "k", "r"].map((letter) => letter.charCodeAt(0));
const EVERY_MS = 5000;

/**
 * Reads a slot's changes and confirms them, until the connection ends.
 *
 * @param client  connected with `replication: "database"`
 * @param onActive  called once the server sends changes
 */
export async function follow(
  client: pg.Client,
  { slot, publication }: { slot: string; publication: string },
  onActive: () => void,
): Promise<never> {
  const { connection } = client as unknown as { connection: Connection };
  let read = 0n;
  const confirm = () => {
    const status = Buffer.alloc(34);
    status.writeUInt8(STATUS ?? 0, 0);
    for (const place of [1, 9, 17]) status.writeBigUInt64BE(read, place);
    connection.sendCopyFromChunk(status);
  };
  connection.once("replicationStart", onActive);
  connection.on("copyData", ({ chunk }: { chunk: Buffer }) => {
    const place = chunk[0] === DATA ? 9 : 1;
    if (chunk[0] === DATA || chunk[0] === KEEPALIVE) {
      const end = chunk.readBigUInt64BE(place);
      if (end > read) read = end;
    }
    if (chunk[0] === KEEPALIVE && chunk[17] === 1) confirm();
  });
  const confirming = setInterval(confirm, EVERY_MS);
  try {
    const options = `proto_version '1', publication_names '${publication}'`;
    await Promise.race([client.query(`START_REPLICATION SLOT ${slot} LOGICAL 0/0 (${options})`), once(client, "end")]);
    throw new Error("the server sends no more changes");
  } finally {
    clearInterval(confirming);
  }
}
