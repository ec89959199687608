import { deleteLinesWith } from "../edits.ts";
import { lines } from "../facts.ts";
import { type Finding, findingsBy, undeclared } from "../finding.ts";
import type { Inside } from "../inside.ts";
import { RUN_BOTH } from "../repair.ts";

/** Where the images and their agents get packages from. */
const DISTRIBUTORS = /^https?:\/\/([^/]+\.)?(debian\.org|ubuntu\.com|digitalocean\.com)(\/|$)/;

/** Packages: their files as they came, from the distribution, kept up to date, whole. */
export function comparePackages(inside: Inside): Finding[] {
  const { error, warning } = findingsBy("packages", "host");
  return [
    ...lines(inside, "packages.changed").map((file) =>
      warning(
        `files[${file}]`,
        { expected: "as packaged", found: "changed", message: "is not as its package brought it, it should be" },
        { why: "bring it back", command: reinstall(file) },
      ),
    ),
    ...lines(inside, "packages.sources").flatMap((line) => {
      const [, file = "", site = ""] = /^(.+?):\d+:(.*)$/.exec(line) ?? [];
      if (DISTRIBUTORS.test(site)) return [];
      return [
        error(`packages.sources[${file}]`, undeclared(`has packages come from ${site}, nothing declares it`, site), {
          why: "remove it if nobody needs it, or ignore it with --ignore",
          command: file.endsWith("/sources.list") ? deleteLinesWith(site, file) : `rm ${file}`,
        }),
      ];
    }),
    ...lines(inside, "packages.held").map((name) =>
      warning(`packages.${name}`, undeclared("is held back, so it gets no security updates", "held"), {
        why: "let it go",
        command: `apt-mark unhold ${name}`,
      }),
    ),
    ...lines(inside, "packages.broken")
      .slice(0, 1)
      .map((line) => {
        const found = line.trim();
        const message = `dpkg finds some half installed: ${found}`;
        return error("packages", { expected: "installed", found, message }, RUN_BOTH);
      }),
  ];
}

/** Also its configuration, which a package would otherwise keep as it is. */
function reinstall(file: string): string {
  const options = ["confask", "confnew", "confmiss"].map((option) => `-o Dpkg::Options::=--force-${option}`).join(" ");
  // If old folders are links, a package may know the file by them.
  const owner = `$(dpkg-query --search ${file} ${file.replace(/^\/usr/, "")} 2> /dev/null | cut -d : -f 1 | head -n 1)`;
  return `export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && apt-get install -qq --reinstall -y ${options} ${owner} < /dev/null`;
}
