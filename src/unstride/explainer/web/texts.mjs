// Sentences that the explorer and Python both say.

import texts from "../shared/texts.json" with { type: "json" };

/** The sentence of that name with `values` in it. */
export function say(group, name, values = {}) {
  return texts[group][name].replace(/\{(\w+)\}/g, (_, key) => {
    if (!(key in values)) throw new Error(`${group}.${name} needs ${key}`);
    return values[key];
  });
}
