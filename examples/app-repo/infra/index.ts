import * as pulumi from "@pulumi/pulumi";

/** Read as it was last deployed. A secret there is a secret here, in this stack's state and outputs too. */
const platform = new pulumi.StackReference(new pulumi.Config().require("platformStack"));

// By the names under which the Convex CLI takes them.
export const CONVEX_SELF_HOSTED_URL = platform.requireOutput("backendUrl");
export const CONVEX_SELF_HOSTED_ADMIN_KEY = platform.requireOutput("adminKey");
export const CONVEX_SITE_URL = platform.requireOutput("siteUrl");
