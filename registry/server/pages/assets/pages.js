"use strict";
// The pages are complete without this. It puts the secret of a link that is good once into its field, takes it
// out of the address, and adds buttons that copy commands.

const code = document.querySelector("input[data-fragment]");
if (code && location.hash.length > 1) {
  code.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname + location.search);
  code.closest(".field").hidden = true;
  document.querySelector("form input:not([type=hidden]):not([data-fragment])")?.focus();
}

for (const box of document.querySelectorAll(".command")) {
  if (!navigator.clipboard) break;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(box.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  box.append(button);
}
