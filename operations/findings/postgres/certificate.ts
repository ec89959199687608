import { X509Certificate } from "node:crypto";

import { RESOURCES, TYPES } from "../../../contract/names.ts";
import { itemsIn } from "../../../contract/scripts.ts";
import type { State } from "../../state.ts";
import { type Finding, findingsBy } from "../finding.ts";

const DAY = 24 * 60 * 60 * 1000;

/** How early it is found that nobody has renewed the certificate, in days. The first `up` in its last year does. */
const WARN_DAYS = 60;

/** The end of the certificate that the server was last given. After it, the backend refuses the server. */
export function compareCertificate(state: State, now = Date.now()): Finding[] {
  const stdin = (state.find(TYPES.command, RESOURCES.server)?.inputs["stdin"] ?? "") as string;
  const pem = itemsIn(stdin, "certificate").join("\n");
  if (pem === "") return [];
  const end = new X509Certificate(pem).validTo;
  const days = Math.floor((Date.parse(end) - now) / DAY);
  if (days > WARN_DAYS) return [];
  const { error, warning } = findingsBy("the stack's state", "postgres");
  const find = days < 0 ? error : warning;
  const message = days < 0 ? "has expired: the backend refuses the server" : `expires in ${days} days`;
  const seen = { expected: `more than ${WARN_DAYS} days`, found: `${days} days`, message };
  return [find(["postgres.certificate", "end"], seen, { up: [RESOURCES.certificate] })];
}
