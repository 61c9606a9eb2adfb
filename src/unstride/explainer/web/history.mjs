// The page's address holds the state, and the browser's history the states before: Back undoes the last change.

const PAUSE = 150; // ms: browsers refuse to write an address in every frame

export class History {
  /** `visit(text)` shows the state in a hash; `now()` is the hash of the current state. */
  constructor(visit, now) {
    this.shown = now();
    this.kind = null;
    this.due = null;
    this.moved = () => {
      this.forget();
      visit(location.hash);
      this.shown = now();
    };
    addEventListener("hashchange", this.moved);
  }

  /** Another state: an entry of its own; but steps ("step") in a row are one, and a change that goes on ("more") is that. */
  add(kind, hash) {
    if (hash === this.shown) return;
    this.shown = hash;
    const same = kind === "step" ? this.kind === "step" : kind === "more" && this.kind === "change";
    this.kind = kind === "step" ? "step" : "change";
    if (same) {
      this.due = hash;
      this.timer ??= setTimeout(() => this.flush(), PAUSE);
    } else {
      this.flush();
      this.write("pushState", hash);
    }
  }

  /** The address alone, for a link to copy. */
  replace(hash) {
    this.flush();
    this.write("replaceState", hash);
  }

  flush() {
    const hash = this.due;
    this.forgetTimer();
    if (hash !== null) this.write("replaceState", hash);
  }

  write(how, hash) {
    try {
      history[how](null, "", hash);
    } catch {
      // A document without an address, or one that has been written too often: the explorer works without.
    }
  }

  /** After a move through the history the next change of any kind is an entry of its own. */
  forget() {
    this.forgetTimer();
    this.kind = null;
  }

  forgetTimer() {
    clearTimeout(this.timer);
    [this.timer, this.due] = [null, null];
  }

  destroy() {
    this.flush();
    removeEventListener("hashchange", this.moved);
  }
}
