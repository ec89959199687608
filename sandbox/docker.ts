import { createReadStream } from "node:fs";
import Docker from "dockerode";

const docker = new Docker();

/** Whether the Docker engine refused a request with this HTTP status: 404 absent, 409 conflict, 304 nothing to change. */
export function hasStatus(error: unknown, status: number): boolean {
  return error instanceof Error && "statusCode" in error && error.statusCode === status;
}

/** For `.catch()`: ignores refusals with one of these statuses. */
export function tolerate(...statuses: number[]): (error: unknown) => undefined {
  return (error) => {
    if (!statuses.some((status) => hasStatus(error, status))) throw error;
  };
}

/** Whether the engine has an image of this name and tag. */
export async function hasImage(name: string): Promise<boolean> {
  return (await docker.getImage(name).inspect().catch(tolerate(404))) !== undefined;
}

/** Makes an image with one layer from the tar archive of a root file system. */
export async function importImage(archive: string, repo: string, tag: string): Promise<void> {
  await followReport(await docker.importImage(createReadStream(archive), { repo, tag }));
}

/** One line of the engine's report about a build, push or import. */
export interface EngineEvent {
  stream?: string;
  error?: string;
  aux?: { Digest?: string };
}

/**
 * Reads an engine's report to its end, which is when the work is complete.
 *
 * @throws Error with the engine's text, if the report has an error
 */
export async function followReport(
  report: NodeJS.ReadableStream,
  onEvent: (event: EngineEvent) => void = () => undefined,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    docker.modem.followProgress(
      report,
      (error) => {
        if (error) reject(error);
        else resolve();
      },
      (event: EngineEvent) => {
        if (event.error !== undefined) reject(new Error(event.error));
        else onEvent(event);
      },
    );
  });
}
