import { describe, expect, it } from "vitest";

import { detectFramework, FRAMEWORKS } from "../../operations/env/frameworks.ts";

describe("an app's framework", () => {
  it.each([
    [{ next: "16" }, "next", "NEXT_PUBLIC_CONVEX_URL"],
    [{ vite: "8" }, "vite", "VITE_CONVEX_URL"],
    [{ vite: "8", "@sveltejs/kit": "2" }, "sveltekit", "PUBLIC_CONVEX_URL"],
    [{ vite: "8", astro: "6" }, "astro", "PUBLIC_CONVEX_URL"],
    [{ vite: "8", "@remix-run/dev": "2" }, "vite", "VITE_CONVEX_URL"],
    [{ "@remix-run/dev": "2" }, "remix", "CONVEX_URL"],
    [{ nuxt: "4" }, "nuxt", "NUXT_PUBLIC_CONVEX_URL"],
    [{ expo: "54" }, "expo", "EXPO_PUBLIC_CONVEX_URL"],
    [{ "react-scripts": "5" }, "cra", "REACT_APP_CONVEX_URL"],
    [{ "@tanstack/react-start": "1" }, "tanstack", "VITE_CONVEX_URL"],
    [{ "@solidjs/start": "1", vinxi: "0.5" }, "vite", "VITE_CONVEX_URL"],
    [{ "@react-router/dev": "7" }, "vite", "VITE_CONVEX_URL"],
    [{ vite: "8", "@builder.io/qwik-city": "1" }, "qwik", "PUBLIC_CONVEX_URL"],
    [{ "@rsbuild/core": "1" }, "rsbuild", "PUBLIC_CONVEX_URL"],
    [{ gatsby: "5" }, "gatsby", "GATSBY_CONVEX_URL"],
    [{ "@vue/cli-service": "5" }, "vue", "VUE_APP_CONVEX_URL"],
    [{ convex: "1" }, "plain", "CONVEX_URL"],
  ])("is detected from its packages: %j", (packages, framework, variable) => {
    expect(detectFramework({ dependencies: packages })).toBe(framework);
    expect(detectFramework({ devDependencies: packages })).toBe(framework);
    expect(`${FRAMEWORKS[framework]?.prefix ?? ""}CONVEX_URL`).toBe(variable);
  });

  it("is plain if no package is known", () => {
    expect(detectFramework({})).toBe("plain");
  });
});
