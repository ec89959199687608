import { expect, it } from "vitest";

import { RateLimiter } from "../../sandbox/cloud/rate-limit.ts";

it("admits as many in a minute as allowed, and again once the minute is over", () => {
  const limiter = new RateLimiter({ perHour: 100, perMinute: 2 });
  expect(limiter.take(1000).admitted).toBe(true);
  expect(limiter.take(1010).admitted).toBe(true);
  const refused = limiter.take(1015);
  expect([refused.admitted, refused.headers["retry-after"]]).toEqual([false, "45"]);
  expect(refused.headers["ratelimit-remaining"]).toBe("0");
  expect(limiter.take(1060).admitted).toBe(true);
  expect(limiter.take(1061).headers["retry-after"]).toBe("9");
});

it("counts down an hour, and a refused request not at all", () => {
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

it("tells where the hour stands without counting", () => {
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
