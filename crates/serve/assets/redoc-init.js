"use strict";

portcullis.start((spec) => {
  const page = document.createElement("div");
  document.getElementById("page").replaceChildren(page);
  Redoc.init(spec, { nativeScrollbars: true, hideDownloadButton: true }, page);
});
