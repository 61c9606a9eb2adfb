// Counts, so that the page asks how far a training is.
function render({ model }) {
  const timer = setInterval(() => {
    if (!model.get("on") || document.hidden) return;
    model.set("beat", model.get("beat") + 1);
    model.save_changes();
  }, 1000 * model.get("seconds"));
  return () => clearInterval(timer);
}
export default { render };
