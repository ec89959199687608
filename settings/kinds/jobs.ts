import { onThisStack } from "../on-this-stack.ts";
import { quoted, type Reader } from "../reader.ts";
import { CONTAINER_OPTIONS, type ContainerOptions, nameFault, pinned, readContainer } from "./apps.ts";
import { Options } from "./options.ts";

/** What a job's options say by themselves. Its app, references and order are checked with the rest of the stack. */
export interface JobOptions extends ContainerOptions {
  /** The app whose container the job has, but for its own options. */
  app: string | undefined;
  /** Apps that wait for it. */
  before: string[];
  /** Apps for whose new versions it waits. */
  after: string[];
  timeoutSeconds: number;
}

const OPTIONS = [...CONTAINER_OPTIONS, "app", "before", "after", "timeoutSeconds"];

/**
 * A job, from its options.
 *
 * @param apps  whose limits a job has unless it sets its own
 */
export function readJob(
  read: Reader,
  path: string,
  name: string,
  value: unknown,
  apps: Pick<ContainerOptions, "name" | "memoryMb" | "cpus">[],
): JobOptions {
  read.refuse(path, nameFault(name, "a job"));
  const options = new Options(read, path, value, OPTIONS, "a job");
  const container = readContainer(read, options, name, "jobs");
  const app = options.text("app", () => undefined);
  const of = apps.find((other) => other.name === app);
  const job = {
    ...container,
    memoryMb: of === undefined || options.has("memoryMb") ? container.memoryMb : of.memoryMb,
    cpus: container.cpus ?? of?.cpus,
    app,
    before: options.list("before", () => undefined, "names of apps"),
    after: options.list("after", () => undefined, "names of apps"),
    timeoutSeconds: options.integer("timeoutSeconds", 1, 7200) ?? 600,
  };
  if (options.isMap) refuseContradictions(options, job);
  return job;
}

/** How to set the program. */
function setWord(options: Options): string {
  return `Set it with: ${onThisStack("config set", `--path ${quoted(options.at("command[0]"))} WORD`)}`;
}

/** What has to be there, and options that make no sense together. */
function refuseContradictions(options: Options, job: JobOptions): void {
  if (job.command[0] === "") {
    // Docker would run the image's entrypoint instead.
    options.refuse("command[0]", {
      sentence: "is empty, it should be a program.",
      fix: setWord(options),
    });
  }
  const remove = (option: string) =>
    `Remove it with: ${onThisStack("config rm", `--path ${quoted(options.at(option))}`)}`;
  if (job.app === undefined) {
    if (options.has("image")) return;
    const other = onThisStack("config set", `--path ${quoted(options.at("app"))} APP`);
    options.refuse("image", {
      sentence: "is missing, it should be the job's image, or app the app whose image it has.",
      fix: `${pinned(options.path)}; or set the app with: ${other}`,
    });
    return;
  }
  if (job.command.length === 0) {
    options.refuse("command", {
      sentence: "is missing, it should be a list of words, because without it the image would start the app.",
      fix: setWord(options),
    });
  }
  for (const option of ["image", "folders", "folderOwner"].filter((name) => options.has(name))) {
    options.refuse(option, { sentence: "is set beside app, it should be the app's.", fix: remove(option) });
  }
}
