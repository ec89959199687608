/** The plugin with a fast clock. */
import { docker } from "../../sandbox/plugins/docker/plugin.ts";
import { serve } from "../../sandbox/plugins/framework/serve.ts";
import { fastClock } from "./plugin-clock.ts";

serve(docker(fastClock));
