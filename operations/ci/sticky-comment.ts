import { bodyOf, isOwn, marker, type Repository } from "./github.ts";

/** Writes `text` to a stack's one comment on a pull request: creates the comment, or replaces its text. */
export async function putComment(
  { client, name }: Repository,
  pullRequest: number,
  stack: string,
  text: string,
): Promise<void> {
  const mark = marker("preview", stack);
  const body = bodyOf(mark, text);
  const comments = await client.paginate(client.issues.listComments, {
    ...name,
    issue_number: pullRequest,
    per_page: 100,
  });
  const own = comments.find((comment) => isOwn(comment, mark));
  if (own === undefined) await client.issues.createComment({ ...name, issue_number: pullRequest, body });
  else await client.issues.updateComment({ ...name, comment_id: own.id, body });
}
