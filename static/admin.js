// Repair: Django's search-as-you-type leaves its box without the name of its field.
"use strict";

addEventListener("load", () => {
  for (const select of document.querySelectorAll("select.admin-autocomplete")) {
    const box = select.parentElement.querySelector(".select2-selection");
    const label = document.querySelector(`label[for="${select.id}"]`);
    if (box && label) {
      label.id ||= `${select.id}_label`;
      box.setAttribute("aria-labelledby", `${label.id} ${box.getAttribute("aria-labelledby") ?? ""}`.trim());
    }
  }
});
