/** What ails a station: what is seen, why, and what cures it. */
export interface Ailment {
  symptom: string;
  /** Where the symptom is not its own explanation. */
  cause?: string;
  /** A command, or a sentence that ends with one. */
  cure: string;
  /** What the cure stops, and for how long, where it is an `up`. */
  costs?: string;
}

/** One of the stations between a developer's machine and the data, and how it was found. */
export interface Station {
  name: string;
  status: "well" | "ill" | "unknown";
  /** What is well, or why it is not known. */
  said: string;
  ailments: Ailment[];
}

export function well(name: string, said: string): Station {
  return { name, status: "well", said, ailments: [] };
}

export function ill(name: string, ailments: Ailment[]): Station {
  return { name, status: "ill", said: "", ailments };
}

export function unknown(name: string, said: string): Station {
  return { name, status: "unknown", said, ailments: [] };
}
