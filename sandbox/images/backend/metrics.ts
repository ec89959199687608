import { ApiError } from "./api-error.ts";
import type { Route } from "./http-server.ts";

/** `/metrics`, for Prometheus. Without authentication: everyone who reaches the port can read it, unless it is disabled. */
export function metricsRoute(disabled: boolean): Route {
  return {
    method: "GET",
    path: "/metrics",
    handle: () =>
      disabled
        ? new ApiError(404, "MetricsDisabled", "/metrics endpoint disabled").toResponse()
        : new Response(render(), { headers: { "content-type": "text/plain; version=0.0.4" } }),
  };
}

function render(): string {
  const { rss } = process.memoryUsage();
  const cpu = process.cpuUsage();
  const metrics: [name: string, type: string, value: number][] = [
    ["process_resident_memory_bytes", "gauge", rss],
    ["process_cpu_seconds_total", "counter", (cpu.user + cpu.system) / 1e6],
    ["process_start_time_seconds", "gauge", performance.timeOrigin / 1000],
  ];
  return metrics.map(([name, type, value]) => `# TYPE ${name} ${type}\n${name} ${value}\n`).join("");
}
