import type { Api } from "./api.ts";

/** Changes a resource's tags from `old` to `wanted`, and creates the tags that the account does not have. */
export async function updateTags(
  api: Api,
  resource: { type: "database" | "droplet" | "volume" | "volume_snapshot"; id: string },
  old: readonly string[],
  wanted: readonly string[],
): Promise<void> {
  const body = { resources: [{ resource_id: resource.id, resource_type: resource.type }] };
  for (const tag of old.filter((name) => !wanted.includes(name))) {
    await api.request("DELETE", `/v2/tags/${encodeURIComponent(tag)}/resources`, body);
  }
  for (const tag of wanted.filter((name) => !old.includes(name))) {
    await api.request("POST", "/v2/tags", { name: tag });
    await api.request("POST", `/v2/tags/${encodeURIComponent(tag)}/resources`, body);
  }
}
