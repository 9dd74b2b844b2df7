// Makes elements. Text only ever becomes text: nothing here takes HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Returns an element. `on…` properties are listeners, `class` and the rest attributes; false, null and undefined are left out. */
export function h(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** Likewise, of SVG. */
export function svg(tag, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

/** Returns one of the small line drawings below, hidden from screen readers: its button has the name. */
export function icon(name) {
  const shape = { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" };
  return svg("svg", shape, ...ICONS[name].split("|").map((d) => svg("path", { d })));
}

/** Replaces what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren(...present(children));
}

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...present(children));
  return element;
}

function present(children) {
  return children.flat().filter((child) => child !== null && child !== undefined && child !== false);
}

const ICONS = {
  menu: "M4 7h16|M4 12h16|M4 17h16",
  plus: "M12 5v14|M5 12h14",
  close: "M6 6l12 12|M18 6L6 18",
  more: "M5 12h.01|M12 12h.01|M19 12h.01",
  send: "M12 19V5|M6 11l6-6 6 6",
  stop: "M8 8h8v8H8z",
  image: "M4 5h16v14H4z|M4 16l5-5 4 4 3-3 4 4|M9 9h.01",
  tune: "M4 8h10|M18 8h2|M4 16h2|M10 16h10|M16 6v4|M8 14v4",
  copy: "M9 9h10v11H9z|M15 9V4H5v11h4",
  check: "M5 12l5 5 9-10",
  edit: "M4 20h4L19 9l-4-4L4 16z|M13 7l4 4",
  again: "M20 12a8 8 0 1 1-2.4-5.7|M20 3v4h-4",
  fork: "M7 4v16|M7 14c6 0 10-2 10-8|M13 9l4-4 4 4",
  moon: "M20 14a8 8 0 1 1-9-10 6.5 6.5 0 0 0 9 10z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8z|M12 2v2|M12 20v2|M2 12h2|M20 12h2|M5 5l1.4 1.4|M17.6 17.6L19 19|M5 19l1.4-1.4|M17.6 6.4L19 5",
  auto: "M12 4a8 8 0 1 0 0 16z|M12 4a8 8 0 0 1 0 16",
  globe: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z|M3 12h18|M12 3c3 3 3 15 0 18|M12 3c-3 3-3 15 0 18",
  gauge: "M4 18a9 9 0 1 1 16 0|M12 14l4-5",
  leave: "M14 4h5v16h-5|M4 12h10|M10 8l4 4-4 4",
  down: "M12 5v14|M6 13l6 6 6-6",
};
