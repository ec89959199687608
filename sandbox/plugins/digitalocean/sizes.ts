import { invokable, unsupported } from "../framework/definition.ts";
import type { Client } from "./client.ts";

interface Size {
  slug: string;
  available: boolean;
  transfer: number;
  price_monthly: number;
  price_hourly: number;
  memory: number;
  vcpus: number;
  disk: number;
  regions: string[];
}

/** All sizes that the API lists, from all pages. */
async function listSizes({ api }: Client): Promise<Size[]> {
  const sizes: Size[] = [];
  for (let page = 1; ; page++) {
    const answer = await api.request<{ sizes: Size[]; meta: { total: number } }>(
      "GET",
      `/v2/sizes?page=${page}&per_page=200`,
    );
    sizes.push(...answer.sizes);
    if (answer.sizes.length === 0 || sizes.length >= answer.meta.total) return sizes;
  }
}

export const getSizes = invokable<Client>()({
  inputs: unsupported("filters", "sorts"),
  call: async ({ client }) => ({
    id: "sizes",
    sizes: (await listSizes(client)).map((size) => ({
      slug: size.slug,
      available: size.available,
      transfer: size.transfer,
      priceMonthly: size.price_monthly,
      priceHourly: size.price_hourly,
      memory: size.memory,
      vcpus: size.vcpus,
      disk: size.disk,
      regions: size.regions,
    })),
  }),
});
