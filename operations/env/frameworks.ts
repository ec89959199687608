/** How a framework handles variables that the browser may see. */
interface Framework {
  /** The npm packages that identify it in an app's package.json. */
  packages: string[];
  /** The prefix of public variables' names. */
  prefix: string;
  /** The developer's own environment file that it reads; the Convex CLI reads both kinds. */
  file: ".env.local" | ".env";
}

/** In search order: many frameworks depend on vite, and Remix on vite needs vite's names. */
export const FRAMEWORKS: Record<string, Framework> = {
  cra: { packages: ["react-scripts"], prefix: "REACT_APP_", file: ".env.local" },
  next: { packages: ["next"], prefix: "NEXT_PUBLIC_", file: ".env.local" },
  expo: { packages: ["expo"], prefix: "EXPO_PUBLIC_", file: ".env.local" },
  nuxt: { packages: ["nuxt"], prefix: "NUXT_PUBLIC_", file: ".env" },
  gatsby: { packages: ["gatsby"], prefix: "GATSBY_", file: ".env.local" },
  sveltekit: { packages: ["@sveltejs/kit"], prefix: "PUBLIC_", file: ".env.local" },
  astro: { packages: ["astro"], prefix: "PUBLIC_", file: ".env.local" },
  qwik: { packages: ["@builder.io/qwik-city", "@qwik.dev/router"], prefix: "PUBLIC_", file: ".env.local" },
  rsbuild: { packages: ["@rsbuild/core"], prefix: "PUBLIC_", file: ".env.local" },
  vue: { packages: ["@vue/cli-service"], prefix: "VUE_APP_", file: ".env.local" },
  tanstack: {
    packages: ["@tanstack/react-start", "@tanstack/solid-start", "@tanstack/start"],
    prefix: "VITE_",
    file: ".env.local",
  },
  // These depend on vite themselves, so an app need not list it.
  vite: {
    packages: ["vite", "vinxi", "@solidjs/start", "@react-router/dev", "@analogjs/platform"],
    prefix: "VITE_",
    file: ".env.local",
  },
  remix: { packages: ["@remix-run/dev"], prefix: "", file: ".env" },
  plain: { packages: [], prefix: "", file: ".env.local" },
};

/** The parts of a package.json that show the framework. */
export interface Manifest {
  dependencies?: object;
  devDependencies?: object;
}

/** The framework of an app; `plain` if none is known. */
export function detectFramework({ dependencies, devDependencies }: Manifest): string {
  const installed = { ...dependencies, ...devDependencies };
  const found = Object.entries(FRAMEWORKS).find(([, { packages }]) => packages.some((name) => name in installed));
  return found?.[0] ?? "plain";
}
