// The search runs in a web worker, which browsers refuse to a page that is opened from a folder. There, run it in a hidden
// frame instead. Zensical would load such a shim from another host; this one keeps the site whole without the network.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inside = frame.contentWindow;
      // Copied and later, as between a page and a worker: neither may see the other's changes, or answer in mid-keystroke.
      inside.postMessage = (sent) => {
        const data = structuredClone(sent);
        setTimeout(() => this.#tell(new MessageEvent("message", { data })));
      };
      inside.importScripts = (...scripts) => Promise.all(scripts.map((script) => load(inside, script)));
      this.inside = inside;
      this.ready = load(inside, new URL(address, document.baseURI).href);
    }

    postMessage(sent) {
      const data = structuredClone(sent);
      this.ready.then(() => {
        const event = new this.inside.MessageEvent("message", { data });
        this.inside.dispatchEvent(event);
        if (this.inside.onmessage) this.inside.onmessage(event);
      });
    }

    terminate() {
      this.inside.frameElement.remove();
    }

    #tell(event) {
      this.dispatchEvent(event);
      if (this.onmessage) this.onmessage(event);
    }
  };
}

function load(inside, address) {
  return new Promise((resolve, reject) => {
    const script = inside.document.createElement("script");
    script.src = address;
    script.onload = resolve;
    script.onerror = reject;
    inside.document.body.append(script);
  });
}
