import { serve } from "../framework/serve.ts";
import { docker } from "./plugin.ts";

serve(docker());
