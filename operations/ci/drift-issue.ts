import { bodyOf, isOwn, marker, type Repository } from "./github.ts";

/** The result of a drift check. A check that failed has no status: it does not change the issue. */
export type DriftStatus = "clean" | "drift";

/**
 * Maintains a stack's one issue: opens it on drift, updates it while there is drift, closes it when there is none.
 *
 * @param text  the findings, in Markdown
 */
export async function announceDrift(
  { client, name }: Repository,
  stack: string,
  status: DriftStatus,
  text: string,
): Promise<void> {
  const mark = marker("drift", stack);
  const body = bodyOf(mark, text);
  const open = await client.paginate(client.issues.listForRepo, { ...name, state: "open", per_page: 100 });
  const own = open.find((issue) => issue.pull_request === undefined && isOwn(issue, mark));
  if (status === "drift") {
    if (own === undefined) await client.issues.create({ ...name, title: `Stack ${stack} has drifted`, body });
    else await client.issues.update({ ...name, issue_number: own.number, body });
  } else if (own !== undefined) {
    const issue = { ...name, issue_number: own.number };
    await client.issues.createComment({ ...issue, body: text });
    await client.issues.update({ ...issue, state: "closed", state_reason: "completed" });
  }
}
