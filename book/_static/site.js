// myst-nb calls the switch of a hidden cell otherwise than it shows; without a label its own words are its name.
document.querySelectorAll("details.hide > summary").forEach((summary) => summary.removeAttribute("aria-label"));
