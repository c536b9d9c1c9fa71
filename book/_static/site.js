// The Jupyter widgets' html-manager speaks to MathJax 2; the book has MathJax 3. Deferred, so that MathJax is there.
window.MathJax = window.MathJax || {};
window.MathJax.Hub = {
  Queue: (...jobs) => {
    for (const job of jobs) {
      if (Array.isArray(job) && job[0] === "Typeset") window.MathJax.typesetPromise?.([job[2]]);
      else if (typeof job === "function") job();
    }
  },
  Config: () => {},
  Configured: () => {},
};

// myst-nb calls the switch of a hidden cell otherwise than it shows; without a label its own words are its name.
document.querySelectorAll("details.hide > summary").forEach((summary) => summary.removeAttribute("aria-label"));
