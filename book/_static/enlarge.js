// A click on a figure's picture, or Enter on it, shows it as large as the window allows; a second click or Escape, and
// it is gone. On a phone it is twice as wide as the screen, and one pushes it about.
const enlarged = document.createElement("dialog");
enlarged.className = "enlarged";
enlarged.innerHTML = '<button type="button" autofocus aria-label="Close the enlarged picture"></button>';
enlarged.addEventListener("click", () => enlarged.close());
document.body.append(enlarged);

function enlarge(image) {
  const copy = new Image();
  copy.src = image.currentSrc || image.src;
  copy.alt = image.alt;
  copy.style.setProperty("--shape", image.naturalWidth / image.naturalHeight);
  enlarged.setAttribute("aria-label", "Enlarged picture");
  enlarged.firstElementChild.replaceChildren(copy);
  enlarged.showModal();
}

document.querySelectorAll(".bd-article figure img").forEach((image) => {
  if (image.closest("a, button")) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "enlarge";
  button.title = "Enlarge";
  image.replaceWith(button);
  button.append(image);
  button.addEventListener("click", () => enlarge(image));
});
