import { serve } from "../framework/serve.ts";
import { postgresql } from "./plugin.ts";

serve(postgresql);
