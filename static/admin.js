// Repair: Django's search-as-you-type puts a box in place of a list, and leaves its parts without names.
"use strict";

/** Name the closed box after its field. */
function nameBox(container) {
  const select = container.previousElementSibling;
  const label = document.querySelector(`label[for="${select.id}"]`);
  if (!label) return;
  label.id ||= `${select.id}_label`;
  const shown = container.querySelector(".select2-selection__rendered");
  shown.setAttribute("aria-labelledby", label.id);
  container.querySelector(".select2-selection").setAttribute("aria-labelledby", `${label.id} ${shown.id}`);
}

/** Name what opens below it, and tie the two together. */
function nameChoices(container) {
  const box = document.querySelector("select + .select2-container--open .select2-selection");
  const choices = container.querySelector("[role=listbox]");
  container.setAttribute("role", "region");
  container.setAttribute("aria-label", "Choices");
  container.querySelector(".select2-search__field")?.setAttribute("aria-label", "Search");
  if (box && choices) box.setAttribute("aria-controls", choices.id);
}

new MutationObserver((changes) => {
  for (const { addedNodes } of changes) {
    for (const node of addedNodes) {
      if (node.nodeType !== Node.ELEMENT_NODE) continue;
      if (node.matches("select + .select2-container")) nameBox(node);
      else if (node.matches("body > .select2-container")) nameChoices(node);
    }
  }
}).observe(document.documentElement, { childList: true, subtree: true });
