import { REGIONS } from "./regions.ts";

function image(id: number, slug: string, distribution: string, name: string, createdAt: string) {
  return {
    id,
    name,
    distribution,
    slug,
    public: true,
    regions: REGIONS.map((region) => region.slug),
    created_at: createdAt,
    min_disk_size: 7,
    type: "base",
    size_gigabytes: 2.5,
    description: `${distribution} ${name}`,
    tags: [] as string[],
    status: "available",
    error_message: "",
  };
}

export type Image = ReturnType<typeof image>;

/** The common distribution images. The slugs are real; the ids only have the real form. */
export const IMAGES: readonly Image[] = [
  image(200_512_101, "debian-13-x64", "Debian", "13 x64", "2025-09-02T14:10:00Z"),
  image(194_418_020, "debian-12-x64", "Debian", "12 x64", "2025-07-22T10:30:00Z"),
  image(195_932_981, "ubuntu-24-04-x64", "Ubuntu", "24.04 (LTS) x64", "2025-08-05T09:20:00Z"),
  image(194_701_402, "ubuntu-22-04-x64", "Ubuntu", "22.04 (LTS) x64", "2025-07-25T09:15:00Z"),
  image(189_420_330, "fedora-42-x64", "Fedora", "42 x64", "2025-05-13T12:00:00Z"),
  image(190_112_744, "rockylinux-9-x64", "Rocky Linux", "9 x64", "2025-06-03T12:00:00Z"),
  image(190_112_903, "almalinux-9-x64", "AlmaLinux", "AlmaLinux 9", "2025-06-03T12:10:00Z"),
];

/** Finds an image by slug or id. */
export function findImage(identifier: string): Image | undefined {
  return IMAGES.find((image) => image.slug === identifier || String(image.id) === identifier);
}

/** The image of an existing droplet. */
export function imageOf(slug: string): Image {
  const image = findImage(slug);
  if (!image) throw new Error(`${slug}: a droplet's image, must be in the catalogue. Was the catalogue cut short?`);
  return image;
}
