import type { Fault } from "../reader.ts";
import { onThisStack } from "../on-this-stack.ts";

/** No value fixes both images. */
type ImageFault = Fault & { fix: string };

const HOST = String.raw`[a-zA-Z\d](?:[a-zA-Z\d.-]*[a-zA-Z\d])?(?::\d+)?`;
const PART = String.raw`[a-z\d]+(?:(?:\.|_|__|-+)[a-z\d]+)*`;
const TAGGED = String.raw`(?:${HOST}/)?${PART}(?:/${PART})*(?::\w[\w.-]{0,127})?`;

/** `repository@sha256:…`, as Docker reads it. There may be a tag before the digest, which has no effect. */
const PINNED = new RegExp(`^${TAGGED}@sha256:[a-f\\d]{64}$`);
const MOVING = new RegExp(`^${TAGGED}$`);

/** What is wrong with a container image. An image that is not pinned may be another one tomorrow. */
export function imageFault(text: string, path: string): ImageFault | undefined {
  return pinnedFault(text, `Use the program's default with: ${onThisStack("config rm", path)}`);
}

/** The same, with the command that fixes it. */
export function pinnedFault(text: string, fix: string): ImageFault | undefined {
  if (PINNED.test(text)) return undefined;
  const is = MOVING.test(text) ? "may be another image tomorrow" : "is not an image reference";
  return {
    sentence: `"${text}" ${is}, it should be pinned as repository@sha256:<64 hexadecimal digits>.`,
    fix,
  };
}

/** If both images have their revision as tag, it must be the same, because their protocol is private. */
export function unpairedImages(backendImage: string, dashboardImage: string): ImageFault | undefined {
  const [backend, dashboard] = [backendImage, dashboardImage].map((image) => /:([0-9a-f]{40})@/.exec(image)?.[1]);
  if (backend === undefined || dashboard === undefined || backend === dashboard) return undefined;
  return {
    sentence: `is of revision ${dashboard}, it should be of the backend's, ${backend}.`,
    fix: "Set both images together.",
  };
}
