"use strict";

portcullis.start((spec, key) => {
  const ui = SwaggerUIBundle({
    spec,
    dom_id: "#page",
    presets: [SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    deepLinking: true,
    displayRequestDuration: true,
    filter: true,
    validatorUrl: null,
    onComplete: () => {
      if (key) ui.preauthorizeApiKey("key", key);
    },
  });
});
