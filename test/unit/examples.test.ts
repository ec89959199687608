import { globSync, readFileSync } from "node:fs";
import path from "node:path";

import { beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";

import { loadSettings } from "../../settings/load.ts";
import { configure, mistakesOf, mockEngine } from "./program.ts";

const IMAGE = `ghcr.io/me/image@sha256:${"a".repeat(64)}`;

interface Container {
  image?: string;
  variables?: Record<string, string>;
  references?: Record<string, string>;
  needs?: Record<string, string>;
}
type Settings = Record<string, unknown> & { apps: Record<string, Container>; jobs?: Record<string, Container> };

beforeEach(async () => {
  await mockEngine();
});

/** An example's stack file, as its README has it copied. */
function settingsOf(example: string): Settings {
  const file = path.join("examples", example, `Pulumi.${example}.yaml`);
  const { config } = parse(readFileSync(file, "utf8")) as { config: Record<string, unknown> };
  return Object.fromEntries(
    Object.entries(config).map(([key, value]) => [key.replace("convex-droplet:", ""), value]),
  ) as Settings;
}

/** With an image wherever the file leaves it to the user. */
function withImages(settings: Settings): Settings {
  const pinned = (containers: Record<string, Container> = {}) =>
    Object.fromEntries(
      Object.entries(containers).map(([name, options]) => [
        name,
        "app" in options ? options : { image: IMAGE, ...options },
      ]),
    );
  return { ...settings, apps: pinned(settings.apps), jobs: pinned(settings.jobs) };
}

describe.each(globSync("examples/openchat-*").map((folder) => path.basename(folder)))(
  "the stack file of %s",
  (example) => {
    it("is complete but for the images of its user's own", () => {
      const settings = settingsOf(example);
      configure(withImages(settings));
      expect(() => loadSettings()).not.toThrow();
      const missing = mistakesOf(settings).map((mistake) => /^convex-droplet:(\S+): is missing/.exec(mistake)?.[1]);
      expect(missing.length).toBeGreaterThan(0);
      expect(missing).toEqual(missing.map(() => expect.stringMatching(/^(apps|jobs)\.[a-z]+\.image$/) as unknown));
    });

    it("is refused without the domain, or anything that an app needs, all at once", () => {
      const settings = withImages(settingsOf(example));
      const apps = Object.fromEntries(
        Object.entries(settings.apps).map(([name, app]) => [name, { ...app, variables: {}, references: {} }]),
      );
      const needed = Object.entries(settings.apps).flatMap(([name, { needs = {} }]) =>
        Object.keys(needs).map((variable) => `apps.${name}.variables.${variable}`),
      );
      const mistakes = mistakesOf({ ...settings, apps, domain: "" }).join("\n");
      for (const found of [...needed, "apps.web.hosts[0]"]) expect(mistakes).toContain(`convex-droplet:${found}: `);
    });

    it("has a row in the README for each of its variables, which says where it comes from", () => {
      const { apps, jobs } = settingsOf(example);
      const readme = readFileSync(path.join("examples", example, "README.md"), "utf8");
      for (const { references, variables } of [...Object.values(apps), ...Object.values(jobs ?? {})]) {
        for (const name of Object.keys({ ...references, ...variables }))
          expect(readme).toMatch(new RegExp(`^\\| .*\`${name}\``, "m"));
      }
    });
  },
);

it("OpenChat on Electric has every variable of its compose file, but for those of PostgreSQL's own container and of PostHog", () => {
  const { apps } = settingsOf("openchat-electric");
  const given = (name: string) => Object.keys({ ...apps[name]?.references, ...apps[name]?.variables });
  expect(given("server")).toEqual(
    expect.arrayContaining([
      ...["DATABASE_URL", "SHADOW_DATABASE_URL", "ELECTRIC_GATEKEEPER_SECRET", "ELECTRIC_SERVICE_URL"],
      ...["BETTER_AUTH_SECRET", "BETTER_AUTH_URL", "SERVER_INTERNAL_URL", "CORS_ORIGIN"],
    ]),
  );
  expect(given("electric")).toEqual(
    expect.arrayContaining(["DATABASE_URL", "PG_PROXY_PASSWORD", "ELECTRIC_GATEKEEPER_SECRET", "ELECTRIC_SECRET"]),
  );
  expect(given("web")).toEqual(
    expect.arrayContaining([
      ...["NEXT_PUBLIC_APP_URL", "NEXT_PUBLIC_SERVER_URL", "NEXT_PUBLIC_ELECTRIC_URL", "ELECTRIC_SERVICE_URL"],
    ]),
  );
});
