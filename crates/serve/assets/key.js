// The key stays in the memory of this page: it is sent to this server and kept nowhere.
"use strict";

const portcullis = (() => {
  let key = "";

  // Fetches the document that the key may see, and gives it to `show`.
  async function load(show) {
    const said = document.getElementById("said");
    const headers = key ? { Authorization: `Bearer ${key}` } : {};
    try {
      const answer = await fetch("/openapi.json", { headers, cache: "no-store" });
      const body = await answer.json();
      if (!answer.ok) {
        said.textContent = body.error;
        return;
      }
      said.textContent = key ? "" : "Without a key, no tools are shown.";
      show(body, key);
    } catch (error) {
      said.textContent = `The document could not be loaded: ${error.message}`;
    }
  }

  function start(show) {
    document.getElementById("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      key = document.getElementById("key").value.trim();
      load(show);
    });
    load(show);
  }

  return { start };
})();
