/* Seven short experiments that follow the chapters: a question, what sets the lab up for it, and what to see. */

const EXPERIMENTS = [
  {
    title: "What does ε buy?",
    chapter: ["07_attack.html", "chapter 7"],
    question:
      "ε is the largest change of any pixel value. Start with half a percent of the range, a little more than " +
      "one grey level. Then double it, again and again, and attack each time. When does the head become " +
      "somebody else, and when do you first see the grain in the picture?",
    see:
      "A tiny budget leaves the curve high and the head nearly as it was. Each doubling takes Δ further down, " +
      "and the head, which moves first in what Eq. 1 weighs most, goes over to the target. The grain comes " +
      "later than the change of the head: that gap is the attack.",
    settings: { epsilon: 0.005, rate: 0.1, clipInside: false },
  },
  {
    title: "Why does the clip freeze?",
    chapter: ["07_attack.html", "chapter 7"],
    question:
      "Algorithm 1 as it is printed has the clip inside the loss, and Adam's rate of 0.1 on a cap of 0.02 is " +
      "five caps a step. Both are set now. Start, and watch the curve after its first step. Then untick the box " +
      "and start again.",
    see:
      "One step, then a flat line. Every entry has jumped beyond the cap, where the clip is flat: no gradient " +
      "comes through, and nothing moves any more. With the projection each step comes back into the box, and " +
      "the next one can improve on it.",
    settings: { epsilon: 0.05, rate: 5, clipInside: true },
  },
  {
    title: "What is left in a file?",
    chapter: ["07_attack.html", "chapter 7"],
    question:
      "A file has steps of 1/255. This ε is a little less than half of one. Attack, see how far the curve comes " +
      "down, and then let the encoder read the picture as a file keeps it: choose “8 bits”.",
    see:
      "The attack works on paper: Δ does fall. In the file every change is rounded away, the perturbation is " +
      "plain grey, and head and Δ are those of the original. With a few grey levels of ε, rounding hardly " +
      "matters.",
    settings: { epsilon: 0.0019, rate: 0.1, clipInside: false },
  },
  {
    title: "Which group gives in first?",
    chapter: ["10_attack_results.html", "chapter 10"],
    question:
      "Eq. 1 has five terms. Attack with the weights of the paper and compare the bars below the curve. Which " +
      "has lost half of its length first, which hardly moves? Then set the weight of the largest term to 0 and " +
      "attack again.",
    see:
      "The terms begin as very different shares of Δ, and the budget goes where Eq. 1 rewards it most. A tiny " +
      "term, such as the rotation's, may fall or stay: it hardly counts. Without the largest term the budget " +
      "goes to the others, and the group that nobody asks for goes where it likes: look at the head.",
    settings: { epsilon: 0.05, rate: 0.1, clipInside: false },
  },
  {
    title: "Does the detector notice?",
    chapter: ["11_detection_results.html", "chapter 11"],
    question:
      "The detector's autoencoder has only seen clean faces. It draws the picture again, and five scores say " +
      "how much is different. Attack with the detector on. Which scores come near their thresholds? Does a " +
      "smaller ε slip through, and which score sees a larger one?",
    see:
      "The thresholds are frozen: they were fixed on clean faces, before any attack. The three norms start at " +
      "what the drawing itself misses and move little. The two that ask what the picture means, JS and cosine, " +
      "have more to say: the autoencoder cannot draw the perturbation, so what is read off its drawing is again " +
      "the original. JS never exceeds ln 2, and a threshold near it leaves little room; the cosine has more. A " +
      "large ε the L1 norm sees as well.",
    settings: { epsilon: 0.02, rate: 0.1, clipInside: false, detector: true },
  },
  {
    title: "Does the face come back?",
    chapter: ["12_defence_results.html", "chapter 12"],
    question:
      "Attack once. Then change what the encoder gets to read: add noise, or let the detector's autoencoder " +
      "reform the picture. The column “came back” says how much of what was lost each group regains. Last, do " +
      "the same to the original: that is the price.",
    see:
      "Some groups come back and others do not, and a head that leaves the target is not yet the original's. A " +
      "defence also changes pictures that nobody attacked. And this attacker did not know of it: one who does " +
      "attacks through it.",
    settings: { epsilon: 0.05, rate: 0.1, clipInside: false, detector: true },
  },
  {
    title: "What does it cost to know the detector?",
    chapter: ["13_adaptive_attacks.html", "chapter 13"],
    question:
      "This attacker differentiates through the detector as well. Start, and watch Δ and the highest score at " +
      "once. Then untick “The attacker knows the detector” and attack again with the same ε: which of the two " +
      "raises the alarm, and which comes nearer to the target? Last, tick it again and move c to either end.",
    see:
      "The blind attack comes nearer, and is seen. The other one turns back at the threshold, and Δ falls all the " +
      "same: most of what the attack needs, the detector does not mind. With the smallest c every step raises the " +
      "alarm, and what is kept is the original. With the largest the attacker minds little else, and Δ stays high.",
    settings: { epsilon: 0.03, rate: 0.1, clipInside: false, detector: true, c: 0.1 },
  },
];

/** Writes the experiments into a list, each behind its title. @param setUp is called with the settings of one. */
export function writeExperiments(list, setUp) {
  EXPERIMENTS.forEach(({ title, chapter: [page, name], question, see, settings }, i) => {
    const item = document.createElement("details");
    item.name = "lab-experiment";
    item.open = i === 0;
    item.innerHTML = `
      <summary>${i + 1}. ${title}</summary>
      <p>${question}</p>
      <p><button type="button" class="lab-quiet">Set the lab up</button> <a href="${page}">${name}</a></p>
      <details><summary>What you should see</summary><p>${see}</p></details>`;
    item.querySelector("button").addEventListener("click", () => setUp(settings, title));
    list.append(item);
  });
}
