// Files: the step on the screen as SVG or PNG, all steps as a GIF.

import { arranged, figure, svg } from "./figure.mjs";
import { Gif } from "./gif.mjs";
import { scene } from "./views.mjs";

const MOST_FRAMES = 150;

export async function save(what, name, t, view, step, palette, progress) {
  const blob = { svg: svgFile, png: pngFile, gif: gifFile }[what];
  download(await blob(t, view, step, palette, progress), `${name}.${what}`);
}

async function svgFile(t, view, step, palette) {
  return new Blob([svg(figure(t, view, step, palette), `${t.title}, ${view}`)], { type: "image/svg+xml" });
}

function canvasOf({ width, height }, scale) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
  return canvas;
}

/** Draw a picture over all of a canvas. */
async function paint(context, picture) {
  const image = new Image();
  image.src = `data:image/svg+xml,${encodeURIComponent(svg(picture, ""))}`;
  await image.decode();
  context.drawImage(image, 0, 0, context.canvas.width, context.canvas.height);
}

async function pngFile(t, view, step, palette) {
  const picture = figure(t, view, step, palette);
  const canvas = canvasOf(picture, 2);
  await paint(canvas.getContext("2d"), picture);
  return new Promise((done, fail) => {
    canvas.toBlob((blob) => (blob ? done(blob) : fail(new Error("the picture is too large for this browser"))), "image/png");
  });
}

/** The steps that a GIF shows: all, or as many as fit, evenly spread. */
function chosen(steps) {
  const count = Math.min(steps, MOST_FRAMES);
  return Array.from({ length: count + 1 }, (_, i) => Math.round((i * steps) / count));
}

async function gifFile(t, view, _, palette, progress) {
  const s = scene(t, view);
  const layout = arranged(s);
  const steps = chosen(s.steps);
  const first = figure(t, view, 0, palette, s, layout);
  const scale = first.width > 1100 || first.height > 1100 ? 0.75 : 1;
  const canvas = canvasOf(first, scale);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const image = async (step) => {
    await paint(context, figure(t, view, step, palette, s, layout));
    return context.getImageData(0, 0, canvas.width, canvas.height);
  };
  const gif = new Gif(canvas.width, canvas.height);
  for (const part of [0, 0.25, 0.5, 0.75, 1]) gif.learn(await image(Math.round(part * s.steps)));
  gif.start();
  const delay = steps.length > 60 ? 12 : steps.length > 20 ? 40 : 90;
  for (const [i, step] of steps.entries()) {
    gif.add(await image(step), i === steps.length - 1 ? 300 : delay);
    if (i % 5 === 0) {
      progress(i / steps.length);
      await new Promise((done) => { setTimeout(done); }); // the page stays alive
    }
  }
  return new Blob([gif.end()], { type: "image/gif" });
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
