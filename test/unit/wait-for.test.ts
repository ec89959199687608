import { expect, it } from "vitest";

import { waitFor } from "../../sandbox/wait-for.ts";

it("returns what the probe returns once the state is reached", async () => {
  const answers = [false, new Error("refused"), 0] as const;
  let asked = 0;
  const seen = await waitFor("an answer", 5, () => {
    const answer = answers[asked++];
    if (answer instanceof Error) throw answer;
    return answer;
  });
  expect([seen, asked]).toEqual([0, 3]);
});

it("names what it waited for, how long, and what it saw last", async () => {
  await expect(waitFor("the port to open", 0, () => false)).rejects.toThrow(/^waited 0 s for the port to open$/);
  const refused = () => Promise.reject(new Error("refused"));
  await expect(waitFor("the port to open", 0, refused)).rejects.toThrow(
    "waited 0 s for the port to open; last: Error: refused",
  );
});
