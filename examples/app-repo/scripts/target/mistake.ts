import type { Found } from "./environment.ts";

/** Something that would send a deploy elsewhere or make it fail half-way. No secret is in it. */
export interface Mistake {
  /** `<path>: <what it is>, <what it should be>` */
  what: string;
  /** A sentence; `Run: ` and a command where there is one. */
  fix: string;
}

/** What is known of the platform that an app should use, and how its commands are called from here. */
export interface Platform {
  backendUrl?: string | undefined;
  siteUrl?: string | undefined;
  /** How a file of the app's gets URL and key. */
  write: (file: string) => string;
  /** How other folders are looked at, where this one is not the one. */
  lookAt: (folders: string[]) => string;
}

/** What takes a variable away from where it wins, so that the next place does. */
export function removal(name: string, { file, place }: Found): string {
  return file === undefined ? `Run: unset ${name}` : `Remove it from ${place}.`;
}

/** What sets a variable anew in the very place that wins. */
export function rewriting(name: string, found: Found, platform: Platform): string {
  return found.file === undefined ? removal(name, found) : platform.write(found.file);
}

/** A URL as a message may show it: what is none may be a key in the wrong place, and some URLs hold a password. */
export function shown(value: string): string {
  const url = URL.parse(value);
  return url !== null && /^(https?|wss?):$/.test(url.protocol)
    ? `${url.protocol}//${url.host}${url.pathname}`
    : "not a URL";
}
