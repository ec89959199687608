import type { Fault } from "./reader.ts";

/** `repository@sha256:…`, with or without a tag between; the digest decides. */
const PINNED = /^[a-z0-9][a-z0-9._:/-]*@sha256:[0-9a-f]{64}$/;

/** What is wrong with a container image: one that is not pinned may be another tomorrow. */
export function imageFault(text: string, path: string): Fault | undefined {
  if (PINNED.test(text)) return undefined;
  const is =
    text.endsWith(":latest") || !text.includes("@") ? "may be another image tomorrow" : "is not an image reference";
  return {
    sentence: `"${text}" ${is}, it should be pinned as repository@sha256:<64 hexadecimal digits>.`,
    fix: `Take the program's own with: pulumi config rm ${path}`,
  };
}

/** Where both images still say their revision in the tag, it must be the same one: they speak one private protocol. */
export function unpairedImages(backendImage: string, dashboardImage: string): Fault | undefined {
  const [backend, dashboard] = [backendImage, dashboardImage].map((image) => /:([0-9a-f]{40})@/.exec(image)?.[1]);
  if (backend === undefined || dashboard === undefined || backend === dashboard) return undefined;
  return {
    sentence: `is of revision ${dashboard}, it should be of the backend's, ${backend}.`,
    fix: "Set both images together.",
  };
}
