import "@pulumi/pulumi";

// The SDK takes a stack trace at every step and maps it to TypeScript sources, which is a third of a run's work. Here Node runs
// the TypeScript files themselves, so there is nothing to map.
Reflect.deleteProperty(Error, "prepareStackTrace");
