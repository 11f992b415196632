// Lists what openapi.json says, without anything from elsewhere.

import { make } from "./page.js";

const { paths, components } = await (await fetch("/openapi.json")).json();

function typeOf(schema = {}) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items)}`;
  return schema.type ?? "anything";
}

function table(rows) {
  const lines = rows.map((cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell))));
  return make("table", {}, make("tbody", {}, ...lines));
}

function operation(path, method, { summary, description, parameters = [], requestBody }) {
  const body = requestBody?.content?.["application/json"]?.schema;
  const named = body?.$ref ? components.schemas[body.$ref.split("/").at(-1)] : null;
  const fields = Object.entries(named?.properties ?? {}).map(([name, schema]) => [name, "body", typeOf(schema)]);
  const rows = [...parameters.map((p) => [p.name, p.in, typeOf(p.schema)]), ...fields];
  return make(
    "article",
    {},
    make("h2", {}, `${method.toUpperCase()} ${path}`),
    make("p", {}, description ?? summary ?? ""),
    ...(named?.description ? [make("p", {}, named.description)] : []),
    ...(rows.length ? [table(rows)] : []),
  );
}

document.getElementById("operations").replaceChildren(
  ...Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, told]) => operation(path, method, told)),
  ),
);
