/** A problem that a check found. The names of its parts are those of the JSON in docs/troubleshooting.md. */
export interface Problem {
  symptom: string;
  /** Absent if the symptom explains itself. */
  cause?: string;
  /** The fix: a command, or a sentence that ends with one. */
  cure: string;
  /** What an `up` as the fix stops, and for how long. */
  costs?: string;
}

/** One check on the way from a developer's machine to the data, and its result. */
export interface Check {
  name: string;
  status: "well" | "ill" | "unknown";
  /** What is healthy, or why it is not known. */
  said: string;
  ailments: Problem[];
}

export function healthy(name: string, said: string): Check {
  return { name, status: "well", said, ailments: [] };
}

export function unhealthy(name: string, ailments: Problem[]): Check {
  return { name, status: "ill", said: "", ailments };
}

export function unknown(name: string, said: string): Check {
  return { name, status: "unknown", said, ailments: [] };
}
