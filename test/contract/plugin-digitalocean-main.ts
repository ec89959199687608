/** The plugin with a fast clock. */
import { digitalocean } from "../../sandbox/plugins/digitalocean/plugin.ts";
import { serve } from "../../sandbox/plugins/framework/serve.ts";
import { fastClock } from "./plugin-clock.ts";

serve(digitalocean(fastClock));
