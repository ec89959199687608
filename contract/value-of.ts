import * as pulumi from "@pulumi/pulumi";

/** The value of an output, in a hook. It does not resolve in a preview if the engine does not know the value yet. */
export function valueOf<T>(output: pulumi.Input<T>): Promise<pulumi.Unwrap<T>> {
  return new Promise((resolve) => {
    pulumi.output(output).apply(resolve);
  });
}
