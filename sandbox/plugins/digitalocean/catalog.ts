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

interface Region {
  slug: string;
  name: string;
  sizes: string[];
  features: string[];
  available: boolean;
}

/** All items of a list of the API, over all pages. */
async function listAll<Item>({ api }: Client, name: string, signal: AbortSignal): Promise<Item[]> {
  const items: Item[] = [];
  for (let page = 1; ; page++) {
    const answer = await api.request<Record<string, Item[]> & { meta: { total: number } }>(
      "GET",
      `/v2/${name}?page=${page}&per_page=200`,
      signal,
    );
    const found = answer[name] ?? [];
    items.push(...found);
    if (found.length === 0 || items.length >= answer.meta.total) return items;
  }
}

export const getSizes = invokable<Client>()({
  inputs: unsupported("filters", "sorts"),
  call: async ({ client, signal }) => ({
    id: "sizes",
    sizes: (await listAll<Size>(client, "sizes", signal)).map((size) => ({
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

export const getRegions = invokable<Client>()({
  inputs: unsupported("filters", "sorts"),
  call: async ({ client, signal }) => ({
    id: "regions",
    regions: (await listAll<Region>(client, "regions", signal)).map((region) => ({
      slug: region.slug,
      name: region.name,
      sizes: region.sizes,
      features: region.features,
      available: region.available,
    })),
  }),
});
