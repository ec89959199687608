import { readFileSync } from "node:fs";
import path from "node:path";
import ts from "typescript";
import { expect } from "vitest";
import type { Properties, Resource } from "../../sandbox/plugins/framework/definition.ts";

/**
 * Asserts that a stand-in resource has exactly the properties that the npm SDK declares, including nested ones, and
 * requires the same ones: `expectSdkProperties(volume, "digitalocean", "volume", "Volume")`.
 */
export function expectSdkProperties(resource: Resource<never>, sdk: string, module: string, className: string): void {
  const file = parse(sdk, `${module}.d.ts`);
  const args = interfaceNamed(file, `${className}Args`);
  expect(namesOf(resource.inputs), `inputs of ${className}`).toEqual(membersOf(args));
  expect(requiredOf(resource.inputs), `required inputs of ${className}`).toEqual(requiredMembersOf(args));
  expect(namesOf({ ...resource.inputs, ...resource.outputs }), `state of ${className}`).toEqual(
    stateOf(file, className),
  );
  for (const member of args.members) expectNested(resource.inputs, member, sdk);
}

/** Asserts that a function has exactly the arguments that the npm SDK declares. */
export function expectSdkArguments(inputs: Properties, sdk: string, module: string, interfaceName: string): void {
  const args = interfaceNamed(parse(sdk, `${module}.d.ts`), interfaceName);
  expect(namesOf(inputs), interfaceName).toEqual(membersOf(args));
  expect(requiredOf(inputs), `required members of ${interfaceName}`).toEqual(requiredMembersOf(args));
}

/** Follows `inputs.remote.ConnectionArgs` in the type of a member to its declaration, and compares that too. */
function expectNested(table: Properties, member: ts.TypeElement, sdk: string): void {
  const name = member.name?.getText();
  const typeName = /\binputs\.([\w.]+)/.exec(member.getText())?.[1]?.split(".").at(-1);
  const nested = name === undefined ? undefined : objectIn(table[name]);
  if (typeName === undefined || nested === undefined) return;
  const declaration = interfaceNamed(parse(sdk, "types/input.d.ts"), typeName);
  expect(namesOf(nested), `members of ${typeName}`).toEqual(membersOf(declaration));
  expect(requiredOf(nested), `required members of ${typeName}`).toEqual(requiredMembersOf(declaration));
  for (const inner of declaration.members) expectNested(nested, inner, sdk);
}

/** The table of the objects that a property holds, directly or in a list, set or map. */
function objectIn(shape: Properties[string] | undefined): Properties | undefined {
  if (shape === undefined) return undefined;
  if (shape.type === "object") return shape.properties;
  return "items" in shape ? objectIn(shape.items) : undefined;
}

function namesOf(table: Properties): string[] {
  return Object.keys(table).sort();
}

function requiredOf(table: Properties): string[] {
  return namesOf(table).filter((name) => table[name]?.required);
}

function parse(sdk: string, file: string): ts.SourceFile {
  const location = path.resolve("node_modules/@pulumi", sdk, file);
  return ts.createSourceFile(location, readFileSync(location, "utf8"), ts.ScriptTarget.Latest, true);
}

function interfaceNamed(file: ts.SourceFile, name: string): ts.InterfaceDeclaration {
  return find(
    file,
    (node) => ts.isInterfaceDeclaration(node) && node.name.text === name,
    name,
  ) as ts.InterfaceDeclaration;
}

function stateOf(file: ts.SourceFile, className: string): string[] {
  const isIt = (node: ts.Node) => ts.isClassDeclaration(node) && node.name?.text === className;
  const declaration = find(file, isIt, className) as ts.ClassDeclaration;
  const properties = declaration.members.filter((member) => ts.isPropertyDeclaration(member));
  return properties.map((property) => property.name.getText()).sort();
}

function find(file: ts.SourceFile, matches: (node: ts.Node) => boolean, name: string): ts.Node {
  const visit = (node: ts.Node): ts.Node | undefined => (matches(node) ? node : ts.forEachChild(node, visit));
  const found = visit(file);
  if (!found) throw new Error(`${file.fileName}: has no declaration ${name}`);
  return found;
}

function membersOf(declaration: ts.InterfaceDeclaration): string[] {
  return declaration.members.map((member) => member.name?.getText() ?? "").sort();
}

function requiredMembersOf(declaration: ts.InterfaceDeclaration): string[] {
  const required = declaration.members.filter((member) => member.questionToken === undefined);
  return required.map((member) => member.name?.getText() ?? "").sort();
}
