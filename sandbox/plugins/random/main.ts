import { serve } from "../framework/serve.ts";
import { random } from "./plugin.ts";

serve(random);
