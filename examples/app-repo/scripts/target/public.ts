import path from "node:path";

import { environmentFiles, find, type Found, MODES, readerOf, readVariables, type Shell } from "./environment.ts";
import { type Mistake, type Platform, removal, shown } from "./mistake.ts";

/** The ends of these variables' names, after any prefix. */
const BACKEND = /(^|_)CONVEX_(CLOUD_|DEPLOYMENT_|BACKEND_|API_)?URL$/;
const SITE = /(^|_)CONVEX_(SITE|HTTP|HTTP_ACTIONS|ACTIONS)(_URL)?$/;

/** Checks the URLs that the app itself calls: those that browsers get, and leftovers of Convex's own cloud. */
export function publicMistakes(
  folder: string,
  shell: Shell,
  { backendUrl, siteUrl }: Pick<Platform, "backendUrl" | "siteUrl">,
): Mistake[] {
  const inFiles = environmentFiles(folder).flatMap((file) => Object.keys(readVariables(path.join(folder, file))));
  const names = new Set([...inFiles, ...Object.keys(shell).filter((name) => name.includes("CONVEX"))]);
  names.delete("CONVEX_SELF_HOSTED_URL");
  return [...names].flatMap((name) =>
    winners(folder, name, shell).flatMap(({ found, modes }) => {
      const host = URL.parse(found.value)?.hostname ?? "";
      const isSite = SITE.test(name) || host.endsWith(".convex.site");
      const isCloud = /\.convex\.(cloud|site)$/.test(host);
      const should = isSite ? siteUrl : backendUrl;
      if (found.value === "" || !(isCloud || ((isSite || BACKEND.test(name)) && differs(found.value, should))))
        return [];
      const when = modes.length === 1 ? `, which wins in ${modes[0]}` : "";
      const wanted = should ?? `the platform's ${isSite ? "siteUrl" : "backendUrl"}`;
      const why = isMixed(found.value, should) ? ", because browsers refuse http: and ws: from a page over https:" : "";
      return [
        {
          what: `${name}: is ${shown(found.value)} in ${found.place}${when}, it should be ${wanted}${why}`,
          fix:
            found.file === undefined || should === undefined ? removal(name, found) : `Write there: ${name}=${should}`,
        },
      ];
    }),
  );
}

/** The places of a variable's value in both modes; only one place if it is the same in both. */
function winners(folder: string, name: string, shell: Shell): { found: Found; modes: string[] }[] {
  const all = MODES.flatMap((mode) => {
    const found = find(folder, name, readerOf(name, mode), shell);
    return found === undefined ? [] : [{ found, mode }];
  });
  return Object.values(Object.groupBy(all, ({ found }) => found.place)).flatMap((same = []) =>
    same.slice(0, 1).map(({ found }) => ({ found, modes: same.map(({ mode }) => mode) })),
  );
}

/** Whether two URLs lead to different servers; false if the expected one is not known. */
function differs(value: string, should: string | undefined): boolean {
  if (should === undefined) return false;
  const [is, wanted] = [value, should].map((url) => URL.parse(url.replace("//localhost", "//127.0.0.1"))?.origin);
  return is !== wanted;
}

/** Whether a page over HTTPS cannot call the URL, but the expected one. Browsers make an exception for their own computer. */
function isMixed(value: string, should: string | undefined): boolean {
  const { protocol = "", hostname = "" } = URL.parse(value) ?? {};
  const isOpen = /^(http|ws):$/.test(protocol) && !/^(localhost|127\.0\.0\.1|\[::1\])$/.test(hostname);
  return isOpen && should?.startsWith("https:") === true;
}
