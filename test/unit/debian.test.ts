import { expect, test } from "vitest";
import { foldSources } from "../../sandbox/debian.ts";

test("Debian's archives are used for the other release, those of others are not", () => {
  const targets = [
    "Debian|http://mirror.example/debian/|bookworm|main",
    "Debian|http://mirror.example/debian/|bookworm|contrib",
    "Debian|http://mirror.example/debian/|bookworm-updates|main",
    "Debian|http://mirror.example/security/|bookworm-security|main",
    "Debian|http://mirror.example/debian/|bookworm-backports|main",
    "Docker|http://docker.example/debian/|bookworm|stable",
    "",
  ];
  expect(foldSources(targets.join("\n"), "trixie")).toBe(
    [
      "deb http://mirror.example/debian/ trixie contrib",
      "deb http://mirror.example/debian/ trixie main",
      "deb http://mirror.example/debian/ trixie-updates main",
      "deb http://mirror.example/security/ trixie-security main",
      "",
    ].join("\n"),
  );
});

test("a computer without package lists gets a message to fetch them", () => {
  expect(() => foldSources("$(ORIGIN)|http://mirror.example/debian/|$(CODENAME)|main\n", "trixie")).toThrow(
    "Run: apt-get update",
  );
});
