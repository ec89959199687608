import { serve } from "../framework/serve.ts";
import { tls } from "./plugin.ts";

serve(tls);
