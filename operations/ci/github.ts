import { Octokit } from "@octokit/rest";

/** Whom the token of a workflow writes as. Only what this account wrote is ever changed: anybody can write a marker. */
const AUTHOR = "github-actions[bot]";

/** GitHub takes no longer text in a comment or an issue. */
const LONGEST = 65_536;

const CUT = "\n\n… and more: the rest is in the run's summary.\n";

/** A comment or an issue, as far as this program looks at it. */
interface Written {
  body?: string | null | undefined;
  user?: { login: string } | null | undefined;
}

/** One repository on GitHub, as the token of a workflow's run sees it. */
export class Repository {
  readonly client: Octokit;
  /** How each call names the repository. */
  readonly name: { owner: string; repo: string };

  private constructor(client: Octokit, name: { owner: string; repo: string }) {
    this.client = client;
    this.name = name;
  }

  /**
   * The repository whose workflow runs: GITHUB_REPOSITORY at GITHUB_API_URL, with GITHUB_TOKEN.
   *
   * @throws Error when one of them is not set
   */
  static fromEnvironment(): Repository {
    const [owner = "", repo = ""] = variable("GITHUB_REPOSITORY").split("/");
    const client = new Octokit({ auth: variable("GITHUB_TOKEN"), baseUrl: variable("GITHUB_API_URL") });
    return new Repository(client, { owner, repo });
  }
}

/** The line an own comment or issue begins with, by which a later run knows it again; not seen by people. */
export function marker(purpose: string, stack: string): string {
  return `<!-- convex-droplet ${purpose}: ${stack} -->`;
}

/** Whether a workflow wrote this, under this marker. */
export function isOwn(written: Written, mark: string): boolean {
  return written.user?.login === AUTHOR && written.body?.startsWith(mark) === true;
}

/** A text as GitHub takes it: marked, and cut where it is too long. */
export function bodyOf(mark: string, text: string): string {
  const body = `${mark}\n${text}`;
  return body.length <= LONGEST ? body : body.slice(0, LONGEST - CUT.length) + CUT;
}

/** Where to read what this run did, in Markdown. */
export function workflowRun(): string {
  const run = `${variable("GITHUB_SERVER_URL")}/${variable("GITHUB_REPOSITORY")}/actions/runs/${variable("GITHUB_RUN_ID")}`;
  return `[Run of ${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC](${run})`;
}

function variable(name: string): string {
  const value = process.env[name] ?? "";
  if (value === "") throw new Error(`${name}: is not set, a workflow's step has it. Set it to try this elsewhere.`);
  return value;
}
