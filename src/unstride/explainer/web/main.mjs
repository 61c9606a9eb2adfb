// The entry points: `mount` on a page, and anywidget's `render`, whose state is a traitlet.

import { Explorer } from "./app.mjs";
import { contrast, heat, PALETTES } from "./colors.mjs";
import { fullGrid, matrix, slidingGrid, trace } from "./compute.mjs";
import { setting } from "./conventions.mjs";
import { figure, svg } from "./figure.mjs";
import { program } from "./programs.mjs";
import { KINDS, question } from "./questions.mjs";
import { scene } from "./views.mjs";
import { connected, fromHash, normalized, refusal, toHash } from "./state.mjs";
import { evenness, sizes } from "./words.mjs";

/** Whether a host wants dark colours: a notebook's own theme counts before the system's. */
function isDark() {
  const { body, documentElement: page } = document;
  if (body.dataset.jpThemeLight) return body.dataset.jpThemeLight === "false";
  if (/\bvscode-(dark|high-contrast)\b/.test(body.className)) return true;
  if (/\bvscode-light\b/.test(body.className)) return false;
  for (const element of [body, page]) {
    if (element.classList.contains("dark") || element.dataset.theme === "dark") return true;
    if (element.classList.contains("light") || element.dataset.theme === "light") return false;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Put an explorer into an element; returns it, with get(), apply(state) and destroy(). */
export function mount(element, options = {}) {
  const explorer = new Explorer(element, { dark: isDark, ...options });
  const media = matchMedia("(prefers-color-scheme: dark)");
  const change = () => explorer.setTheme();
  media.addEventListener("change", change);
  const observer = new MutationObserver(change);
  for (const watched of [document.body, document.documentElement]) {
    observer.observe(watched, { attributes: true, attributeFilter: ["class", "data-theme", "data-jp-theme-light"] });
  }
  const destroy = explorer.destroy.bind(explorer);
  explorer.destroy = () => {
    media.removeEventListener("change", change);
    observer.disconnect();
    destroy();
  };
  return explorer;
}

/** anywidget's entry: `state` is the traitlet, `presets` the examples. */
function render({ model, el }) {
  const root = document.createElement("div");
  el.append(root);
  const explorer = mount(root, {
    state: model.get("state"), presets: model.get("presets"),
    onState: (state) => {
      model.set("state", state);
      model.save_changes();
    },
  });
  const changed = () => {
    const state = model.get("state");
    if (JSON.stringify(state) === JSON.stringify(explorer.get())) return;
    try {
      explorer.apply(normalized(state), { quiet: true });
    } catch (error) {
      explorer.say(`This state could not be shown: ${error.message}.`);
    }
  };
  model.on("change:state", changed);
  return () => {
    model.off("change:state", changed);
    explorer.destroy();
  };
}

export default { render };

// For the tests, which compare these with the Python side.
export const parts = {
  connected, contrast, evenness, figure, fromHash, fullGrid, heat, KINDS, matrix, normalized, PALETTES, program, question, refusal,
  scene, setting, sizes, slidingGrid, svg, toHash, trace,
};
