import type { ResourceValidationPolicy } from "@pulumi/policy";

import { TYPES } from "../../contract/names.ts";
import { inputsOf, isKnown } from "../resource.ts";

/** The property that names the image. */
const IMAGE: Record<string, string> = {
  [TYPES.container]: "image",
  "docker:index/remoteImage:RemoteImage": "name",
};

export const imagesByDigest: ResourceValidationPolicy = {
  name: "images-by-digest",
  description: "Every container image is pinned by its digest: a tag may be another image tomorrow.",
  enforcementLevel: "mandatory",
  validateResource: (args, reportViolation) => {
    const property = IMAGE[args.type];
    if (property === undefined) return;
    const image = inputsOf(args)[property];
    if (!isKnown(image) || typeof image !== "string" || /@sha256:[0-9a-f]{64}$/.test(image)) return;
    reportViolation(
      `${args.name}: ${property} is ${image}, it should end with @sha256:<64 hexadecimal digits>. ` +
        `Look the digest up with: docker buildx imagetools inspect ${image}`,
    );
  },
};
