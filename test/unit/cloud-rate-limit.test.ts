import { expect, it } from "vitest";

import { RateLimiter } from "../../sandbox/cloud/rate-limit.ts";

it("admits the allowed number of requests in a minute, and more after it", () => {
  const limiter = new RateLimiter({ perHour: 100, perMinute: 2 });
  expect(limiter.take(1000).admitted).toBe(true);
  expect(limiter.take(1010).admitted).toBe(true);
  const refused = limiter.take(1015);
  expect([refused.admitted, refused.headers["retry-after"]]).toEqual([false, "45"]);
  expect(refused.headers["ratelimit-remaining"]).toBe("0");
  expect(limiter.take(1060).admitted).toBe(true);
  expect(limiter.take(1061).headers["retry-after"]).toBe("9");
});

it("counts the requests of an hour, without refused ones", () => {
  const limiter = new RateLimiter({ perHour: 2, perMinute: 100 });
  expect(limiter.take(1000).headers).toEqual({
    "ratelimit-limit": "2",
    "ratelimit-remaining": "1",
    "ratelimit-reset": "4600",
  });
  expect(limiter.take(2000).headers["ratelimit-remaining"]).toBe("0");
  const refused = limiter.take(3000);
  expect([refused.admitted, refused.headers]).toEqual([
    false,
    { "ratelimit-limit": "2", "ratelimit-remaining": "0", "ratelimit-reset": "4600" },
  ]);
  expect(limiter.take(4600)).toMatchObject({ admitted: true, headers: { "ratelimit-reset": "5600" } });
});

it("shows the hour's count without counting", () => {
  const limiter = new RateLimiter({ perHour: 2, perMinute: 1 });
  limiter.take(1000);
  for (const now of [1001, 1002]) {
    expect(limiter.headers(now)).toEqual({
      "ratelimit-limit": "2",
      "ratelimit-remaining": "1",
      "ratelimit-reset": "4600",
    });
  }
  expect(limiter.headers(4600)["ratelimit-remaining"]).toBe("2");
});
