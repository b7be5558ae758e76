"use strict";
// Shows /openapi.json. Everything is put in as text, never as markup.

const make = (name, content, attributes = {}) => {
  const element = document.createElement(name);
  Object.assign(element, attributes);
  for (const part of [content ?? []].flat()) element.append(part);
  return element;
};

const follow = (spec, value) =>
  value?.$ref ? follow(spec, value.$ref.slice(2).split("/").reduce((at, key) => at[key.replaceAll("~1", "/")], spec)) : value;

// A schema in a few words.
const words = (spec, schema, deep = 0) => {
  if (schema?.$ref && deep > 0) return schema.$ref.split("/").pop();
  schema = follow(spec, schema) ?? {};
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.anyOf) return schema.anyOf.map((one) => words(spec, one, deep + 1)).join(" | ");
  if (schema.type === "array") return `[${words(spec, schema.items, deep + 1)}]`;
  const type = [schema.type ?? "any"].flat().join(" | ");
  const low = schema.minimum ?? (schema.exclusiveMinimum !== undefined ? `>${schema.exclusiveMinimum}` : undefined);
  return low !== undefined || schema.maximum !== undefined ? `${type} (${low ?? ""}…${schema.maximum ?? ""})` : type;
};

const table = (spec, schema) => {
  schema = follow(spec, schema) ?? {};
  if (schema.anyOf) return schema.anyOf.flatMap((one) => [make("p", follow(spec, one).description), table(spec, one)].flat());
  const required = new Set(schema.required);
  const rows = Object.entries(schema.properties ?? {}).map(([name, field]) =>
    make("tr", [
      make("td", make("code", required.has(name) ? `${name} *` : name)),
      make("td", words(spec, field, 1)),
      make("td", follow(spec, field).description ?? ""),
    ]));
  return rows.length ? [make("table", rows)] : [];
};

const send = async (method, path, text, output) => {
  output.textContent = "…";
  try {
    const body = method === "GET" ? undefined : text;
    const answer = await fetch(path, { method, body, headers: body ? { "content-type": "application/json" } : {} });
    output.textContent = `${answer.status} ${answer.headers.get("content-type") ?? ""}\n\n`;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) output.append(piece.value);
  } catch (error) {
    output.textContent = String(error);
  }
};

const operation = (spec, path, method, one) => {
  const content = one.requestBody?.content["application/json"];
  const inside = make("div", make("p", one.description ?? ""), { className: "inside" });
  if (content) inside.append(...table(spec, content.schema));
  const url = make("input", undefined, { value: path, ariaLabel: "Path", size: 40 });
  const text = make("textarea", undefined, { value: content ? JSON.stringify(content.example ?? {}, null, 2) : "", ariaLabel: "Body" });
  const output = make("pre", "", { hidden: true });
  const button = make("button", "Send", { type: "button" });
  button.onclick = () => {
    output.hidden = false;
    send(method.toUpperCase(), url.value, text.value, output);
  };
  inside.append(make("h2", "Try it"), url, ...(content ? [text] : []), button, output, make("h2", "Answers"));
  inside.append(make("table", Object.entries(one.responses).map(([status, response]) =>
    make("tr", [
      make("td", make("code", status)),
      make("td", Object.keys(follow(spec, response).content ?? {}).join(", ")),
      make("td", follow(spec, response).description),
    ]))));
  const title = make("summary", [make("span", method.toUpperCase(), { className: "method" }), make("code", path), make("span", one.summary)]);
  return make("details", [title, inside]);
};

const show = (spec) => {
  document.getElementById("about").textContent = `${spec.info.title} ${spec.info.version}. ${spec.info.description}`;
  const main = document.getElementById("paths");
  for (const tag of spec.tags) {
    const section = make("section", make("h2", tag.name));
    for (const [path, methods] of Object.entries(spec.paths))
      for (const [method, one] of Object.entries(methods))
        if (one.tags?.includes(tag.name)) section.append(operation(spec, path, method, one));
    main.append(section);
  }
  document.getElementById("filter").oninput = (event) => {
    const wanted = event.target.value.toLowerCase();
    for (const details of main.querySelectorAll("details"))
      details.hidden = !details.querySelector("summary").textContent.toLowerCase().includes(wanted);
  };
};

fetch("/openapi.json")
  .then((answer) => answer.json())
  .then(show)
  .catch((error) => {
    document.getElementById("about").textContent = `The document could not be read: ${error}`;
  });
