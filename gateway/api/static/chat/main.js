// Where the chat page begins: whoever has not signed in gets the form, everybody else the chat.

import { bearer, signedIn, signInByCode, signInFromAnotherPage } from "../page/account.js";
import { fill } from "../page/dom.js";
import { PAGE_WORDS } from "../page/page_words.js";
import { signInView } from "../page/sign_in.js";
import { applyTheme } from "../page/theme.js";
import { learn, t } from "../page/words.js";
import { Chat } from "./chat.js";
import { CHAT_WORDS } from "./chat_words.js";
import { watchReadiness } from "./readiness.js";
import { Shell } from "./shell.js";

const root = document.getElementById("app");
let chat = null;
let shell = null;
let readiness = null;
let note = "";
let whoWas = null;
let left = null;

function draw() {
  shell?.end();
  shell = null;
  if (!signedIn()) {
    fill(root, signInView("gemma-gateway", note && t(note)));
    return;
  }
  shell = new Shell(chat);
  fill(root, shell.element);
  shell.begin();
}

function onAccount() {
  if (signedIn() && chat === null) open();
  if (!signedIn() && chat !== null) close();
}

async function open() {
  note = "";
  whoWas = who();
  chat = new Chat();
  draw();
  readiness = watchReadiness((problem) => chat?.setProblem(problem));
  chat.addEventListener("failed", () => readiness?.soon());
  await chat.load();
  if (left?.who === who()) await chat.resume(left);
  left = null;
}

function close() {
  chat.stop();
  readiness.end();
  // Whoever signs in again goes on where they were; somebody else finds nothing of it.
  left = { who: whoWas, session: chat.current, draft: chat.draft };
  chat = readiness = null;
  note = "session_over";
  draw();
}

function who() {
  const { iss, tenant, sub } = bearer();
  return JSON.stringify([iss, tenant, sub]);
}

async function begin() {
  try {
    if (!(await signInByCode())) await signInFromAnotherPage();
  } catch {
    note = "code_used";
  }
  if (!signedIn()) draw();
}

learn(PAGE_WORDS);
learn(CHAT_WORDS);
applyTheme();
addEventListener("account", onAccount);
addEventListener("accountending", () => chat?.tell(t("session_ending")));
addEventListener("language", draw);
begin();
