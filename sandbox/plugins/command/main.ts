import { serve } from "../framework/serve.ts";
import { command } from "./plugin.ts";

serve(command);
