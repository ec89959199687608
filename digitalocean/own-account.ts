import * as pulumi from "@pulumi/pulumi";

import { Account } from "./account.ts";
import { apiToken } from "../settings/token.ts";

/** The account that the program's provider uses. */
export function account(): Account {
  return new Account(apiToken(), new pulumi.Config("digitalocean").get("apiEndpoint"));
}
