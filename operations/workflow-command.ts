/**
 * A line that a step of GitHub Actions prints as a command to its runner, escaped as in GitHub's own toolkit.
 *
 * @param name   `error`, `warning`, `notice` or `add-mask`
 * @param title  of an annotation
 */
export function workflowCommand(name: string, text: string, title?: string): string {
  const property = title === undefined ? "" : ` title=${escaped(title).replaceAll(":", "%3A").replaceAll(",", "%2C")}`;
  return `::${name}${property}::${escaped(text)}`;
}

function escaped(text: string): string {
  return text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
}
