import { onThisStack } from "./on-this-stack.ts";
import type { AppOptions, ContainerOptions } from "./kinds/apps.ts";
import { type JobOptions, readJob } from "./kinds/jobs.ts";
import { entriesOf } from "./kinds/options.ts";
import { inOrder } from "./kinds/order.ts";
import { type Known, type Resolved, resolveReferences } from "./kinds/references.ts";
import { quoted, type Reader } from "./reader.ts";

/** A command of the user's own that runs once for each version of its container. */
export interface JobSettings extends Resolved<ContainerOptions> {
  /** That of its app, for the variable PORT; undefined if it has none. */
  port: number | undefined;
  /** Whose folders it has: its app's, or its own. */
  foldersOf: string;
  /** Apps that stay as they are until it has succeeded. */
  before: string[];
  /** Apps whose new versions serve before it runs; each of them runs it again. */
  after: string[];
  /** Whether it runs after apps, because it or a job that it depends on has `after`. */
  afterApps: boolean;
  timeoutSeconds: number;
}

/** The jobs, with those that a job depends on before it. With `app`, a job has everything of that app's container. */
export function readJobs(read: Reader, apps: Resolved<AppOptions>[], known: Known): JobSettings[] {
  const options = entriesOf(read, "jobs", "names of jobs to their options", "jobs.NAME.image IMAGE").map(
    ([name, value]) => readJob(read, `jobs.${name}`, name, value, apps),
  );
  const jobs = options.map((job): JobSettings => {
    refuseNames(read, job, apps);
    const references = resolveReferences(read, `jobs.${job.name}`, job.references, { ...known, forJob: true });
    const { app, ...own } = job;
    const of = apps.find(({ name }) => name === app);
    const rest = { references, afterApps: false };
    if (of === undefined) return { ...own, ...rest, port: undefined, foldersOf: job.name };
    // What the job sets itself wins, also as the other kind.
    const without = <Value>(values: Record<string, Value>): Record<string, Value> =>
      Object.fromEntries(
        Object.entries(values).filter(
          ([name]) => ![job.variables, job.references].some((own) => Object.hasOwn(own, name)),
        ),
      );
    return {
      ...own,
      ...rest,
      image: of.image,
      variables: { ...without(of.variables), ...job.variables },
      references: { ...without(of.references), ...references },
      port: of.port,
      folders: of.folders,
      folderOwner: of.folderOwner,
      foldersOf: of.name,
    };
  });
  return withPhases(read, inOrder(read, "jobs", "a job", jobs));
}

/** A job either runs before apps or after them, because nginx leads to all new versions in one step. */
function withPhases(read: Reader, jobs: JobSettings[]): JobSettings[] {
  const late = new Set<string>();
  return jobs.map((job) => {
    const cause = job.after.length > 0 ? job.name : job.dependsOn.find((other) => late.has(other));
    if (cause === undefined) return job;
    late.add(job.name);
    if (job.before.length > 0) {
      const path = `jobs.${job.name}.before`;
      const why =
        cause === job.name
          ? "is set beside after"
          : `is set although the job depends on ${cause}, which runs after apps`;
      read.refuse(path, {
        sentence: `${why}, it should be absent, because all apps get their requests in one step.`,
        fix: `Remove it with: ${onThisStack("config rm", `--path ${path}`)}`,
      });
    }
    return { ...job, afterApps: true };
  });
}

function refuseNames(read: Reader, { name, app, before, after }: JobOptions, apps: Pick<AppOptions, "name">[]): void {
  const names = apps.map((other) => other.name);
  const known = names.join(", ") || "there is none";
  const path = `jobs.${name}`;
  if (names.includes(name)) {
    read.refuse(path, {
      sentence: "is also the name of an app, it should be another, because folders on the volume have it.",
      fix: "Rename it.",
    });
  }
  if (app !== undefined && !names.includes(app)) {
    read.refuse(`${path}.app`, {
      sentence: `"${app}" is not an app, it should be one of apps: ${known}.`,
      fix: `Set it with: ${onThisStack("config set", `--path ${path}.app APP`)}`,
    });
  }
  for (const [option, others] of Object.entries({ before, after })) {
    others.forEach((other, index) => {
      if (names.includes(other)) return;
      const at = `${path}.${option}[${index}]`;
      read.refuse(at, {
        sentence: `"${other}" is not an app, it should be one of apps: ${known}.`,
        fix: `Remove it with: ${onThisStack("config rm", `--path ${quoted(at)}`)}`,
      });
    });
  }
}
