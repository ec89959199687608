// Serves the rules to the engine. Not TypeScript, because Pulumi loads a policy pack's first file with its own, older compiler, whatever
// PulumiPolicy.yaml says. Node loads what this file imports.

// The server of the protocol between the engine and its analyzers.
import { PolicyPack } from "@pulumi/policy";

import { RULES } from "./rules.ts";

new PolicyPack("convex-droplet", { enforcementLevel: "mandatory", policies: RULES });
