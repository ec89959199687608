import type { Fault, Reader } from "./reader.ts";

/** The two URLs under which clients reach the backend; undefined for one that is to be derived. */
export function readOrigins(read: Reader): { cloudOrigin: string | undefined; siteOrigin: string | undefined } {
  const [cloud, site] = [
    read.text("cloudOrigin", (text) => originFault(text, "https://api.example.com")),
    read.text("siteOrigin", (text) => originFault(text, "https://site.example.com")),
  ];
  if (cloud !== "" && cloud === site) {
    read.refuse("siteOrigin", {
      sentence: `${site} equals cloudOrigin, it should be a host or port of its own, or HTTP actions and sign-in break.`,
      value: "https://site.example.com",
    });
  }
  return { cloudOrigin: cloud === "" ? undefined : cloud, siteOrigin: site === "" ? undefined : site };
}

/** An origin: scheme and host, nothing behind. Convex joins paths to it, so a slash at the end doubles. */
function originFault(text: string, example: string): Fault | undefined {
  if (text === "") return undefined;
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    return { sentence: `"${text}" is not a URL, it should start with https:// or http://.`, value: example };
  }
  if (text.endsWith("/")) {
    return {
      sentence: `${text} ends with a slash, it should end with the host or port.`,
      value: text.replace(/\/+$/, ""),
    };
  }
  return text === url.origin
    ? undefined
    : { sentence: `${text} is more than scheme, host and port, it should be ${url.origin}.`, value: url.origin };
}
