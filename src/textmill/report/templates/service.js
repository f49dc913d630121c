"use strict";
// The page of a service: asks it for labels and for what speaks for them, as somebody types.
(function () {
  const PAUSE = 400;
  const MOST_LABELS = 10;
  const find = (id) => document.getElementById(id);
  const first = find("first");
  const second = find("second");
  let info = null;
  let shownAll = false;
  let asking = null;
  let pause = null;

  function element(name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function pairs() {
    return info.text_columns.length === 2;
  }

  function text() {
    return pairs() ? [first.value, second.value] : first.value;
  }

  function empty() {
    return !(pairs() ? first.value + second.value : first.value).trim();
  }

  function tell(problem) {
    find("problem").textContent = problem;
  }

  // What the service says is wrong, in a sentence.
  async function problemOf(answer) {
    let detail = "";
    try {
      detail = (await answer.json()).detail;
    } catch {
      // No JSON: something between the service and us has answered.
    }
    if (Array.isArray(detail)) detail = detail.map((one) => one.msg).join("; ");
    if (answer.status === 503) {
      const seconds = answer.headers.get("Retry-After");
      const when = seconds ? `${seconds} s` : "a moment";
      return `The service is busy (${detail}). Try again in ${when}.`;
    }
    return `The service answered ${answer.status}: ${detail || answer.statusText}.`;
  }

  async function ask(path, body, signal) {
    const headers = {};
    const key = sessionStorage.getItem("key");
    if (key) headers.Authorization = `Bearer ${key}`;
    if (body) headers["Content-Type"] = "application/json";
    const options = { method: body ? "POST" : "GET", headers, signal };
    if (body) options.body = JSON.stringify(body);
    let answer;
    try {
      answer = await fetch(path, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("The service can't be reached.");
    }
    if (answer.status === 401) {
      sessionStorage.removeItem("key");
      find("unlock").hidden = false;
      find("key").focus();
      throw new Error(key ? "The service doesn't know this API key." : "");
    }
    if (!answer.ok) throw new Error(await problemOf(answer));
    return answer.json();
  }

  function bar(name, score, predicted) {
    const item = element("li");
    const button = element("button", predicted ? "predicted" : "");
    button.type = "button";
    button.dataset.label = name;
    button.setAttribute("aria-pressed", "false");
    const label = element("span", "name", name);
    label.dir = "auto";
    const track = element("span", "track");
    const fill = element("span", "fill");
    fill.style.setProperty("--share", score);
    track.append(fill);
    button.append(label, track, element("span", "score", `${(100 * score).toFixed(1)}%`));
    button.addEventListener("click", () => explain(name));
    item.append(button);
    return item;
  }

  function showLabels(prediction) {
    const predicted = [prediction.label].flat();
    const scores = Object.entries(prediction.scores || { [predicted[0]]: prediction.score });
    const shown = shownAll ? scores : scores.slice(0, MOST_LABELS);
    const bars = shown.map(([name, score]) => bar(name, score, predicted.includes(name)));
    document.querySelector(".bars").replaceChildren(...bars);
    find("more").hidden = shown.length === scores.length;
    find("verdict").textContent = predicted.length ? predicted.join(", ") : "No label holds.";
    find("labels").hidden = false;
  }

  const methods = {
    integrated_gradients: "integrated gradients",
    occlusion: "occlusion: each word is hidden alone, so that the two need not be the same",
  };

  // The texts with their words marked, as pieces of a paragraph each.
  function marked(whole, side, words) {
    const paragraph = element("p", "attributed");
    paragraph.dir = "auto";
    const most = Math.max(...words.map((word) => Math.abs(word.contribution)), 1e-9);
    const characters = Array.from(whole);
    let end = 0;
    for (const word of words) {
      if (word.side !== side) continue;
      paragraph.append(characters.slice(end, word.start).join(""));
      const mark = element("mark", word.contribution >= 0 ? "towards" : "against", word.text);
      mark.style.setProperty("--strength", Math.abs(word.contribution) / most);
      mark.title = word.contribution.toFixed(3);
      paragraph.append(mark);
      end = word.end;
    }
    const rest = characters.slice(end).join("");
    paragraph.append(rest.trim() ? element("span", "unseen", rest) : rest);
    return paragraph;
  }

  function showWords(asked, found) {
    const texts = [asked].flat();
    const words = found.words.map((word) => ({ side: 0, ...word }));
    find("explained").textContent = found.label;
    find("attribution").replaceChildren(...texts.map((one, side) => marked(one, side, words)));
    const added = found.total.toFixed(2);
    const difference = (found.log_odds - found.baseline_log_odds).toFixed(2);
    const cut = found.cut ? " The text is longer than what the model sees." : "";
    find("check").textContent =
      `Probability ${found.score.toFixed(3)}; with every word hidden ` +
      `${found.baseline_score.toFixed(3)}. The words add ${added} in all, for a difference of ` +
      `${difference} (${methods[found.method]}).${cut}`;
    const strongest = [...words].sort((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution));
    const rows = strongest.slice(0, 100).map((word) => {
      const row = element("tr");
      row.append(element("td", "name", word.text));
      row.append(element("td", "number", word.contribution.toFixed(3)));
      return row;
    });
    document.querySelector("#words tbody").replaceChildren(...rows);
    find("words").hidden = false;
  }

  function press(label) {
    for (const button of document.querySelectorAll(".bars button")) {
      button.setAttribute("aria-pressed", String(button.dataset.label === label));
    }
  }

  // Runs one question at a time: a newer one takes its place.
  async function only(work) {
    if (asking) asking.abort();
    const mine = new AbortController();
    asking = mine;
    document.querySelector("main").classList.add("busy");
    try {
      await work(mine.signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      tell(error.message);
    } finally {
      if (asking === mine) document.querySelector("main").classList.remove("busy");
    }
  }

  async function explained(asked, label, signal) {
    const found = await ask("explain", { text: asked, label }, signal);
    tell("");
    press(found.label);
    showWords(asked, found);
  }

  function explain(label) {
    const asked = text();
    only((signal) => explained(asked, label, signal));
  }

  function classify() {
    clearTimeout(pause);
    if (!info) return;
    if (empty()) {
      if (asking) asking.abort();
      find("labels").hidden = find("words").hidden = true;
      tell("");
      return;
    }
    const asked = text();
    only(async (signal) => {
      const body = { texts: [asked], top_k: Math.max(2, info.labels.length) };
      const prediction = (await ask("predict", body, signal)).predictions[0];
      tell("");
      showLabels(prediction);
      await explained(asked, [prediction.label].flat()[0] || null, signal);
    });
  }

  function showExamples() {
    const items = info.examples.map((example) => {
      const texts = [example.text].flat();
      const item = element("li");
      const button = element("button", "", texts.join(" / "));
      button.type = "button";
      button.dir = "auto";
      button.title = button.textContent;
      button.addEventListener("click", () => {
        first.value = texts[0];
        second.value = texts[1] || "";
        classify();
      });
      item.append(button);
      return item;
    });
    document.querySelector(".examples").replaceChildren(...items);
    find("examples").hidden = items.length === 0;
  }

  async function begin() {
    try {
      info = await ask("info");
    } catch (error) {
      tell(error.message);
      find("served").textContent = "";
      return;
    }
    tell("");
    find("unlock").hidden = true;
    const kind = info.multi_label ? "any number of" : "one of";
    find("served").textContent =
      `A text has ${kind} ${info.labels.length} labels. Bundle ${info.bundle.slice(0, 12)}, ` +
      `${info.form} on ${info.device}, since ${new Date(info.loaded).toLocaleString()}.`;
    find("second-part").hidden = !pairs();
    if (pairs()) {
      find("first-label").textContent = info.text_columns[0];
      find("second-label").textContent = info.text_columns[1];
    }
    showExamples();
    classify();
  }

  function follow() {
    clearTimeout(pause);
    pause = setTimeout(classify, PAUSE);
  }

  for (const box of [first, second]) {
    box.addEventListener("input", follow);
    box.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) classify();
    });
  }
  find("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    classify();
  });
  find("unlock").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem("key", find("key").value);
    find("key").value = "";
    begin();
  });
  find("more").addEventListener("click", () => {
    shownAll = true;
    classify();
  });
  begin();
})();
