// Repair: Django's search-as-you-type puts a box in place of a list, and leaves it without the name of its field.
"use strict";

function nameBox(container) {
  const select = container.previousElementSibling;
  const label = select && document.querySelector(`label[for="${select.id}"]`);
  if (!label) return;
  label.id ||= `${select.id}_label`;
  const shown = container.querySelector(".select2-selection__rendered");
  shown.setAttribute("aria-labelledby", label.id);
  container.querySelector(".select2-selection").setAttribute("aria-labelledby", `${label.id} ${shown.id}`);
}

new MutationObserver((changes) => {
  for (const { addedNodes } of changes) {
    for (const node of addedNodes) {
      if (node.nodeType === Node.ELEMENT_NODE && node.matches("select + .select2-container")) nameBox(node);
    }
  }
}).observe(document.documentElement, { childList: true, subtree: true });
