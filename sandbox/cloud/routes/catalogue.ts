import type { FastifyInstance } from "fastify";

import { databaseOptions } from "../database-versions.ts";
import { notFound } from "../errors.ts";
import { findImage, IMAGES } from "../images.ts";
import { REGIONS } from "../regions.ts";
import { SIZES } from "../sizes.ts";
import { paginate, queryParameter } from "./pagination.ts";

/** What every account can choose from. */
export function catalogueRoutes(api: FastifyInstance): void {
  api.get("/v2/regions", (request) => paginate(request, "regions", REGIONS));

  api.get("/v2/sizes", (request) => paginate(request, "sizes", SIZES));

  api.get("/v2/databases/options", () => databaseOptions());

  api.get("/v2/images", (request) => {
    // There are only distribution images: no applications, snapshots, uploads or tagged images.
    const type = queryParameter(request, "type") ?? "distribution";
    const others = queryParameter(request, "private") === "true" || queryParameter(request, "tag_name") !== undefined;
    return paginate(request, "images", type === "distribution" && !others ? IMAGES : []);
  });

  api.get<{ Params: { image: string } }>("/v2/images/:image", (request) => {
    const image = findImage(request.params.image);
    if (!image) throw notFound();
    return { image };
  });
}
