// Where the operations view begins. It asks the gateway every two seconds and draws what follows from the answers.

import { json, signedIn, signInFromAnotherPage, signOut } from "../page/account.js";
import { fill, h, icon } from "../page/dom.js";
import { PAGE_WORDS } from "../page/page_words.js";
import { signInView } from "../page/sign_in.js";
import { switches } from "../page/switches.js";
import { applyTheme } from "../page/theme.js";
import { learn, number, t } from "../page/words.js";
import { cards } from "./cards.js";
import { CONSOLE_WORDS } from "./console_words.js";
import { History } from "./history.js";
import { engines, errors, outcomes, tenants } from "./tables.js";

const POLL_MS = 2000;

const root = document.getElementById("app");
let history = new History();
let view = null;
let timer = 0;
let paused = false;
let problem = null;

function draw() {
  document.title = `${t("console_title")} – gemma-gateway`;
  if (!signedIn()) {
    view = null;
    fill(root, signInView(t("console_title")));
    return;
  }
  view = { about: h("p", { class: "hint" }), banner: h("p", { class: "banner", role: "status" }), content: h("div", { class: "content" }) };
  fill(root,
    h("header", { class: "bar" },
      h("img", { src: "/static/favicon.svg", alt: "", width: "22", height: "22" }),
      h("h1", {}, t("console_title")),
      view.about,
      h("span", { class: "space" }),
      pauseButton(),
      switches(),
      h("button", { type: "button", class: "quiet icon-only", "aria-label": t("sign_out"), title: t("sign_out"), onclick: signOut }, icon("leave"))),
    h("main", {}, view.banner, view.content));
  drawContent();
}

function drawContent() {
  const answer = history.latest;
  view.banner.textContent = bannerText(answer);
  view.banner.hidden = !view.banner.textContent;
  if (!answer) return;
  view.about.textContent = t("about", { version: answer.version, uptime: duration(answer.uptime_seconds) });
  // Who has moved into a table by keyboard, or has scrolled it, is left there.
  const { focused, scrolled } = place();
  fill(view.content, cards(history), engines(history), outcomes(answer), tenants(answer), errors(answer));
  [...view.content.querySelectorAll(".wide")].forEach((box, index) => {
    box.scrollLeft = scrolled[index] ?? 0;
    if (index === focused) box.focus({ preventScroll: true });
  });
}

function place() {
  const boxes = [...view.content.querySelectorAll(".wide")];
  return { focused: boxes.indexOf(document.activeElement), scrolled: boxes.map((box) => box.scrollLeft) };
}

function bannerText(answer) {
  if (problem) return t(problem);
  if (answer?.draining) return t("draining");
  return answer && !answer.redis ? t("redis_away") : "";
}

function pauseButton() {
  const button = h("button", { type: "button", class: "quiet", "aria-pressed": String(paused), onclick: () => {
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
    button.textContent = t(paused ? "resume" : "pause");
    if (!paused) poll();
  } }, t(paused ? "resume" : "pause"));
  return button;
}

async function poll() {
  clearTimeout(timer);
  if (!signedIn() || paused) return;
  if (!document.hidden) await ask();
  timer = setTimeout(poll, POLL_MS);
}

async function ask() {
  try {
    history.add(await json("/admin/console"));
    problem = null;
  } catch (error) {
    problem = error.status === 403 ? "not_admin" : "lost";
  }
  if (view && !paused) drawContent();
}

function duration(seconds) {
  const [days, hours, minutes] = [seconds / 86_400, (seconds / 3600) % 24, (seconds / 60) % 60].map(Math.floor);
  if (days) return `${number(days)} d ${hours} h`;
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${Math.floor(seconds % 60)} s`;
}

function onAccount() {
  history = signedIn() ? history : new History();
  draw();
  poll();
}

async function begin() {
  await signInFromAnotherPage();
  if (!signedIn()) draw();
}

learn(PAGE_WORDS);
learn(CONSOLE_WORDS);
applyTheme();
addEventListener("account", onAccount);
addEventListener("language", draw);
document.addEventListener("visibilitychange", poll);
begin();
