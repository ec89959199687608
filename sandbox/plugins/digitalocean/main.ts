import { serve } from "../framework/serve.ts";
import { digitalocean } from "./plugin.ts";

serve(digitalocean());
