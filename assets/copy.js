// The copy buttons. Without this script they aren't shown, and everything else is as it is.
"use strict";
document.documentElement.classList.add("js");
addEventListener("click", (event) => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const said = (text) => {
    const before = button.dataset.label || (button.dataset.label = button.textContent);
    button.textContent = text;
    setTimeout(() => { button.textContent = before; }, 2000);
  };
  const select = () => {
    // A page that came over plain HTTP has no clipboard: what is to be copied is selected, and the old way is tried.
    getSelection().selectAllChildren(source);
    said(document.execCommand("copy") ? "Copied" : "Press Ctrl+C");
  };
  if (navigator.clipboard) {
    navigator.clipboard.writeText(source.textContent).then(() => said("Copied"), select);
  } else {
    select();
  }
});
