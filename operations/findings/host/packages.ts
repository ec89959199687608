import { deleteLinesWith } from "../edits.ts";
import { lines } from "../facts.ts";
import { type Finding, findingsBy, undeclared } from "../finding.ts";
import type { Inside } from "../inside.ts";
import { RUN_BOTH } from "../repair.ts";
import { shell } from "../shell.ts";

/** The sites that the images and their agents get packages from. */
const DISTRIBUTORS = /^https?:\/\/([^/]+\.)?(debian\.org|ubuntu\.com|digitalocean\.com)(\/|$)/;

/** Checks packages: unchanged files, only the distribution's sources, none held back, all completely installed. */
export function comparePackages(inside: Inside): Finding[] {
  const { error, warning } = findingsBy("packages", "host");
  return [
    ...lines(inside, "packages.changed").map((file) =>
      warning(
        `files[${file}]`,
        { expected: "as packaged", found: "changed", message: "differs from its package, it should not" },
        { why: "install it again", command: reinstall(file) },
      ),
    ),
    ...lines(inside, "packages.sources").flatMap((line) => {
      const [, file = "", site = ""] = /^(.+?):\d+:(.*)$/.exec(line) ?? [];
      if (DISTRIBUTORS.test(site)) return [];
      return [
        error(`packages.sources[${file}]`, undeclared(`adds packages from ${site}, nothing declares it`, site), {
          why: "remove it if nobody needs it, or ignore it with driftIgnore",
          command: file.endsWith("/sources.list") ? deleteLinesWith(site, file) : shell`rm ${file}`,
        }),
      ];
    }),
    ...lines(inside, "packages.held").map((name) =>
      warning(`packages.${name}`, undeclared("is held back, so it gets no security updates", "held"), {
        why: "allow updates again",
        command: shell`apt-mark unhold ${name}`,
      }),
    ),
    ...lines(inside, "packages.broken")
      .slice(0, 1)
      .map((line) => {
        const found = line.trim();
        const message = `dpkg reports some that are only partly installed: ${found}`;
        return error("packages", { expected: "installed", found, message }, RUN_BOTH);
      }),
  ];
}

/** Also restores its configuration files, which a package would otherwise not change. */
function reinstall(file: string): string {
  const options = ["confask", "confnew", "confmiss"].map((option) => `-o Dpkg::Options::=--force-${option}`).join(" ");
  // If old folders are links, a package may know the file by them.
  const owner = shell`$(dpkg-query --search ${file} ${file.replace(/^\/usr/, "")} 2> /dev/null | cut -d : -f 1 | head -n 1)`;
  return `export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && apt-get install -qq --reinstall -y ${options} ${owner} < /dev/null`;
}
