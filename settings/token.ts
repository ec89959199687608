import * as pulumi from "@pulumi/pulumi";
import { onThisStack } from "./on-this-stack.ts";

/** The API token, from the places where the provider looks for it; empty if none has one. */
export function apiToken(): string {
  return (
    new pulumi.Config("digitalocean").get("token") ??
    process.env["DIGITALOCEAN_TOKEN"] ??
    process.env["DIGITALOCEAN_ACCESS_TOKEN"] ??
    ""
  );
}

/** Without a token, the provider only says "Unable to authenticate you". */
export function tokenMistakes(): string[] {
  return apiToken() !== ""
    ? []
    : [
        `digitalocean:token: is not set, it should be an API token that may read and write. Set it with: ${onThisStack("config set", "--secret digitalocean:token")}`,
      ];
}
