// The explorer's frames are light or dark as the page is. Frames of files are foreign to the page, so they are told.
function tell(frame) {
  frame.contentWindow.postMessage({ theme: document.body.dataset.theme }, "*");
}

addEventListener("DOMContentLoaded", () => {
  const frames = [...document.querySelectorAll("iframe.explorer")];
  for (const frame of frames) frame.addEventListener("load", () => tell(frame));
  new MutationObserver(() => frames.forEach(tell)).observe(document.body, { attributeFilter: ["data-theme"] });
});
