import "@pulumi/pulumi";

// The SDK takes a stack trace at every step and maps each to its TypeScript sources, which is a third of a run's work. Node runs
// these files unmapped.
Reflect.deleteProperty(Error, "prepareStackTrace");
