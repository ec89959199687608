import type { Found } from "./environment.ts";

/** Something that would deploy elsewhere or make a deploy fail half-way. It contains no secret. */
export interface Mistake {
  /** `<path>: <what it is>, <what it should be>` */
  what: string;
  /** A sentence, or `Run: ` and a command. */
  fix: string;
}

/** The known facts about the platform that an app should use, and the texts that name its commands. */
export interface Platform {
  backendUrl?: string | undefined;
  siteUrl?: string | undefined;
  /** How to write URL and key to a file of the app. */
  write: (file: string) => string;
  /** How to check other folders, if this one is the wrong one. */
  lookAt: (folders: string[]) => string;
}

/** How to remove a variable from the place that wins, so that the next place wins. */
export function removal(name: string, { file, place }: Found): string {
  return file === undefined ? `Run: unset ${name}` : `Remove it from ${place}.`;
}

/** How to set a variable again in the place that wins. */
export function rewriting(name: string, found: Found, platform: Platform): string {
  return found.file === undefined ? removal(name, found) : platform.write(found.file);
}

/** A URL for messages: other text may be a key in the wrong place, and a URL may contain a password. */
export function shown(value: string): string {
  const url = URL.parse(value);
  return url !== null && /^(https?|wss?):$/.test(url.protocol)
    ? `${url.protocol}//${url.host}${url.pathname}`
    : "not a URL";
}
