import { RESOURCES, TYPES } from "../../../contract/names.ts";
import type { State } from "../../state.ts";
import { pulumiCommand } from "../../typed.ts";
import { type Finding, findingsBy } from "../finding.ts";

const DAY = 24 * 60 * 60 * 1000;

/** How early it is found that nobody has renewed the certificate, in days. Each `up` of the last year before its end does. */
const WARN_DAYS = 60;

/** The end of the server's certificate, after which the backend refuses the server. */
export function compareCertificate(state: State, now = Date.now()): Finding[] {
  const end = state.find(TYPES.certificate, RESOURCES.certificate)?.outputs["validityEndTime"];
  if (end === undefined) return [];
  const days = Math.floor((Date.parse(String(end)) - now) / DAY);
  if (days > WARN_DAYS) return [];
  const { error, warning } = findingsBy("the stack's state", "postgres");
  const find = days < 0 ? error : warning;
  const message = days < 0 ? `has expired: the backend refuses the server` : `expires in ${days} days`;
  return [
    find(
      ["postgres.certificate", "end"],
      { expected: `more than ${WARN_DAYS} days`, found: `${days} days`, message },
      {
        why: `the next up renews it, and the server reads it without a restart: ${pulumiCommand(state.stack, "up")}`,
      },
    ),
  ];
}
