import { Octokit } from "@octokit/rest";

/** The account of a workflow's token. The program changes only what this account wrote, because anybody can write a marker. */
const AUTHOR = "github-actions[bot]";

/** The longest text that GitHub accepts in a comment or an issue. */
const LONGEST = 65_536;

const CUT = "\n\n… and more: the rest is in the run's summary.\n";

/** The parts of a comment or an issue that this program reads. */
interface Written {
  body?: string | null | undefined;
  user?: { login: string } | null | undefined;
}

/** One repository on GitHub, with the client of a workflow's token. */
export class Repository {
  readonly client: Octokit;
  /** The repository's name, for each call. */
  readonly name: { owner: string; repo: string };

  private constructor(client: Octokit, name: { owner: string; repo: string }) {
    this.client = client;
    this.name = name;
  }

  /**
   * The repository of the running workflow: GITHUB_REPOSITORY at GITHUB_API_URL, with GITHUB_TOKEN.
   *
   * @throws Error if one of them is not set
   */
  static fromEnvironment(): Repository {
    const [owner = "", repo = ""] = variable("GITHUB_REPOSITORY").split("/");
    const client = new Octokit({ auth: variable("GITHUB_TOKEN"), baseUrl: variable("GITHUB_API_URL") });
    return new Repository(client, { owner, repo });
  }
}

/** The first line of the program's own comment or issue. A later run finds it by this line; GitHub does not display it. */
export function marker(purpose: string, stack: string): string {
  return `<!-- convex-droplet ${purpose}: ${stack} -->`;
}

/** Whether a workflow wrote this, with this marker. */
export function isOwn(written: Written, mark: string): boolean {
  return written.user?.login === AUTHOR && written.body?.startsWith(mark) === true;
}

/** A text with the marker, cut to the length that GitHub accepts. */
export function bodyOf(mark: string, text: string): string {
  const body = `${mark}\n${text}`;
  return body.length <= LONGEST ? body : body.slice(0, LONGEST - CUT.length) + CUT;
}

/** A link to this run, in Markdown. */
export function workflowRun(): string {
  const run = `${variable("GITHUB_SERVER_URL")}/${variable("GITHUB_REPOSITORY")}/actions/runs/${variable("GITHUB_RUN_ID")}`;
  return `[Run of ${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC](${run})`;
}

function variable(name: string): string {
  const value = process.env[name] ?? "";
  if (value === "") throw new Error(`${name}: is not set, a workflow sets it. Set it to try this elsewhere.`);
  return value;
}
