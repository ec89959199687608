import * as pulumi from "@pulumi/pulumi";

/** The platform's outputs from its last deployment. A secret output stays secret in this stack's state and outputs. */
const platform = new pulumi.StackReference(new pulumi.Config().require("platformStack"));

// Under the names that the Convex CLI reads.
export const CONVEX_SELF_HOSTED_URL = platform.requireOutput("backendUrl");
export const CONVEX_SELF_HOSTED_ADMIN_KEY = platform.requireOutput("adminKey");
export const CONVEX_SITE_URL = platform.requireOutput("siteUrl");
