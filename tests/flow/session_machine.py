"""The session API as two users use it, by HTTP and at random, beside a model of it: a list of messages a session."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import httpx
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule

from tests.flow.chat import PATH, payloads

WORD = re.compile(r"\s*\S+")
TEXTS = st.from_regex(r"[a-zé你]{1,6}( [a-z]{1,4}){0,2}", fullmatch=True)
TITLES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8)
USERS = st.sampled_from(["ann", "bob"])
INDEXES = st.integers(0, 7)
_PATIENCE = 400


class Known(NamedTuple):
    """A session that was made, deleted since or not."""

    id: str
    owner: str


@dataclass
class Talk:
    """What a session must hold."""

    title: str = ""
    system: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    messages: list[tuple[str, str]] = field(default_factory=list)

    @property
    def answer(self) -> str:
        """What the scripted engine says to the last question: questions in a row are one to the model."""
        questions: list[str] = []
        for role, text in reversed(self.messages):
            if role != "user":
                break
            questions.insert(0, text)
        return "You said: " + "\n\n".join(questions)

    def forget_last_answer(self) -> None:
        """Go back to the last question."""
        while self.messages[-1][0] == "assistant":
            self.messages.pop()


class SessionApi(RuleBasedStateMachine):
    """Every verb, by its owner or by the other user. To the other, and once deleted to anybody, none exists."""

    base_url: ClassVar[str]
    engine_url: ClassVar[str]
    admin_key: ClassVar[str]
    sessions = Bundle("sessions")

    def __init__(self) -> None:
        super().__init__()
        self.clients = {name: self._client() for name in ("ann", "bob")}
        self.engine = httpx.Client(base_url=self.engine_url, trust_env=False)
        tenant = f"machine-{uuid.uuid4().hex}"
        for name, client in self.clients.items():
            made = client.post("/admin/keys", json={"tenant": tenant, "user": name})
            client.headers["authorization"] = f"Bearer {made.json()['key']}"
        self.talks: dict[str, dict[str, Talk]] = {"ann": {}, "bob": {}}

    def _client(self) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.admin_key}"}
        return httpx.Client(base_url=self.base_url, headers=headers, timeout=60, trust_env=False)

    def teardown(self) -> None:
        for user in self.talks:
            self.holds_what_the_model_holds(user)
        for client in (*self.clients.values(), self.engine):
            client.close()

    def holds_what_the_model_holds(self, user: str) -> None:
        """Compare all sessions of a user."""
        listed = self.clients[user].get("/v1/sessions?limit=100").json()
        assert {each["id"] for each in listed["data"]} == set(self.talks[user])
        for session_id in self.talks[user]:
            self.check(user, session_id)

    def check(self, user: str, session_id: str) -> None:
        """Compare one session of a user's."""
        talk, client = self.talks[user][session_id], self.clients[user]
        record = client.get(f"/v1/sessions/{session_id}").json()
        told = (record["title"], record["system"], record["metadata"], record["message_count"])
        assert told == (talk.title, talk.system, talk.metadata, len(talk.messages))
        assert self.messages(user, session_id) == talk.messages

    def messages(self, user: str, session_id: str) -> list[tuple[str, str]]:
        """Return role and text of all messages."""
        data = self.clients[user].get(f"/v1/sessions/{session_id}/messages?limit=1000").json()["data"]
        return [(each["role"], each["content"]) for each in data]

    def id_at(self, session_id: str, user: str, index: int) -> str | None:
        """Return the id of a message, None where there are not so many."""
        data = self.clients[user].get(f"/v1/sessions/{session_id}/messages?limit=1000").json()["data"]
        return str(data[index]["id"]) if index < len(data) else None

    def script(self, behaviour: str) -> None:
        """Give the next answer this behaviour."""
        self.engine.post("/_script", json={"behaviour": behaviour}).raise_for_status()

    def mine(self, user: str, session: Known) -> Talk | None:
        """Return what the session must hold, None where it must not exist for this user."""
        return self.talks[user].get(session.id)

    def missing(self, response: httpx.Response, session: Known) -> None:
        """Check the answer of a session that is not there: one body, be it another's, deleted or made up."""
        assert response.status_code == 404
        assert response.json() == {
            "error": {
                "message": f"There is no session '{session.id}'.",
                "type": "invalid_request_error",
                "param": "session_id",
                "code": "session_not_found",
            }
        }

    # Sessions.

    @rule(target=sessions, user=USERS, title=TITLES, system=TITLES, alias=st.booleans())
    def create(self, user: str, title: str, system: str, alias: bool) -> Known:
        path, name = ("/chat/sessions", "system_prompt") if alias else ("/v1/sessions", "system")
        made = self.clients[user].post(path, json={"title": title, name: system, "metadata": {"a": title}})
        assert made.status_code == (200 if alias else 201)
        session_id = made.json()["session_id" if alias else "id"]
        self.talks[user][session_id] = Talk(title, system, {"a": title})
        return Known(session_id, user)

    @rule(user=USERS)
    def look_through_the_list(self, user: str) -> None:
        found: list[str] = []
        after, more = "", True
        while more:
            page = self.clients[user].get(f"/v1/sessions?limit=2{after}").json()
            found += [each["id"] for each in page["data"]]
            after, more = f"&after={page['last_id']}", page["has_more"]
        assert len(found) == len(set(found))
        assert set(found) == set(self.talks[user])

    @rule(user=USERS, session=sessions, alias=st.booleans())
    def read(self, user: str, session: Known, alias: bool) -> None:
        read = self.clients[user].get(f"{'/chat' if alias else '/v1'}/sessions/{session.id}")
        talk = self.mine(user, session)
        if talk is None:
            self.missing(read, session)
            return
        record = read.json()
        assert (record["title"], record["message_count"]) == (talk.title, len(talk.messages))
        assert record["system_prompt" if alias else "system"] == talk.system

    @rule(user=USERS, session=sessions, title=TITLES, system=st.none() | TITLES)
    def patch(self, user: str, session: Known, title: str, system: str | None) -> None:
        changes = {"title": title} | ({} if system is None else {"system": system})
        changed = self.clients[user].patch(f"/v1/sessions/{session.id}", json=changes)
        talk = self.mine(user, session)
        if talk is None:
            self.missing(changed, session)
            return
        assert changed.status_code == 200
        talk.title, talk.system = title, talk.system if system is None else system
        self.check(user, session.id)

    @rule(user=USERS, session=sessions, alias=st.booleans())
    def delete(self, user: str, session: Known, alias: bool) -> None:
        deleted = self.clients[user].delete(f"{'/chat' if alias else '/v1'}/sessions/{session.id}")
        if self.mine(user, session) is None:
            self.missing(deleted, session)
            return
        assert deleted.json()["deleted"] is True
        del self.talks[user][session.id]

    @rule(target=sessions, user=USERS, session=sessions, index=INDEXES)
    def fork(self, user: str, session: Known, index: int) -> Known:
        talk = self.mine(user, session)
        since = self.id_at(session.id, user, index) if talk else "msg_none"
        forked = self.clients[user].post(f"/v1/sessions/{session.id}/fork", json={"from": since} if since else {})
        if talk is None:
            self.missing(forked, session)
            return session
        kept = talk.messages[: index + 1] if since else list(talk.messages)
        made = Known(forked.json()["id"], user)
        self.talks[user][made.id] = Talk(talk.title, talk.system, dict(talk.metadata), kept)
        self.check(user, made.id)
        return made

    # Messages.

    @rule(user=USERS, session=sessions, limit=st.integers(1, 5))
    def read_messages_in_pages(self, user: str, session: Known, limit: int) -> None:
        talk, client = self.mine(user, session), self.clients[user]
        path = f"/v1/sessions/{session.id}/messages?order=desc&limit={limit}"
        found: list[tuple[str, str]] = []
        after, more = "", True
        while more:
            answer = client.get(path + after)
            if talk is None:
                self.missing(answer, session)
                return
            page = answer.json()
            found += [(each["role"], each["content"]) for each in page["data"]]
            after, more = f"&after={page['last_id']}", page["has_more"]
        assert found == talk.messages[::-1] if talk else found == []

    @rule(user=USERS, session=sessions, limit=st.integers(1, 5))
    def read_the_history(self, user: str, session: Known, limit: int) -> None:
        history = self.clients[user].get(f"/chat/sessions/{session.id}/history?limit={limit}")
        talk = self.mine(user, session)
        if talk is None:
            self.missing(history, session)
            return
        shown = [(each["role"], each["content"]) for each in history.json()["messages"]]
        assert (shown, history.json()["total"]) == (talk.messages[-limit:], len(talk.messages))

    @rule(user=USERS, session=sessions, index=st.none() | INDEXES)
    def delete_messages(self, user: str, session: Known, index: int | None) -> None:
        talk = self.mine(user, session)
        since = "msg_none" if index is not None else None
        if talk and index is not None:
            since = self.id_at(session.id, user, index)
            if since is None:
                return
        parameters = {} if since is None else {"from": since}
        deleted = self.clients[user].delete(f"/v1/sessions/{session.id}/messages", params=parameters)
        if talk is None:
            self.missing(deleted, session)
            return
        assert deleted.json()["deleted"] == len(talk.messages) - (index or 0)
        del talk.messages[index or 0 :]
        self.check(user, session.id)

    @rule(user=USERS, session=sessions, text=TEXTS, way=st.integers(0, 3), stream=st.booleans(), refused=st.booleans())
    def send(self, user: str, session: Known, text: str, way: int, stream: bool, refused: bool) -> None:
        talk = self.mine(user, session)
        if talk and refused:
            self.script("error_400")
        answer = self._asked(self.clients[user], session.id, text, way, stream)
        if talk is None:
            self.missing(answer, session)
        elif refused:
            assert answer.status_code == 400
        else:
            talk.messages.append(("user", text))
            assert said_in(answer) == talk.answer
            talk.messages.append(("assistant", talk.answer))
        if talk:
            self.check(user, session.id)

    @staticmethod
    def _asked(client: httpx.Client, session_id: str, text: str, way: int, stream: bool) -> httpx.Response:
        """Send a message in one of the four ways that there are."""
        if way == 0:
            return client.post(f"/v1/sessions/{session_id}/messages", json={"content": text, "stream": stream})
        if way == 1:
            route = "stream" if stream else "messages"
            return client.post(f"/chat/sessions/{session_id}/{route}", json={"message": text})
        chat: dict[str, Any] = {"model": "fake", "messages": [{"role": "user", "content": text}], "stream": stream}
        if way == 2:
            return client.post(PATH, json=chat, headers={"x-session-id": session_id})
        return client.post(PATH, json={**chat, "session_id": session_id})

    @rule(target=sessions, user=USERS, text=TEXTS, stream=st.booleans())
    def begin_with_a_message(self, user: str, text: str, stream: bool) -> Known:
        chat = {"model": "fake", "messages": [{"role": "user", "content": text}], "stream": stream}
        answer = self.clients[user].post(PATH, json=chat, headers={"x-session-id": "new"})
        made = Known(answer.headers["x-session-id"], user)
        self.talks[user][made.id] = Talk(messages=[("user", text), ("assistant", f"You said: {text}")])
        assert said_in(answer) == f"You said: {text}"
        self.check(user, made.id)
        return made

    @rule(user=USERS, text=TEXTS, stream=st.booleans())
    def be_refused_a_first_message(self, user: str, text: str, stream: bool) -> None:
        self.script("error_400")
        chat = {"model": "fake", "messages": [{"role": "user", "content": text}], "stream": stream}
        answer = self.clients[user].post(PATH, json=chat, headers={"x-session-id": "new"})
        assert answer.status_code == 400
        assert "x-session-id" not in answer.headers

    @rule(user=USERS, session=sessions, text=TEXTS)
    def stop(self, user: str, session: Known, text: str) -> None:
        """Leave when all but the last word is here: that much is kept."""
        talk = self.mine(user, session)
        if talk is None:
            return
        self.script("hold")
        talk.messages.append(("user", text))
        partial = "".join(WORD.findall(talk.answer)[:-1])
        asked = {"content": text, "stream": True}
        with self.clients[user].stream("POST", f"/v1/sessions/{session.id}/messages", json=asked) as answer:
            lines, got = answer.iter_lines(), ""
            while got != partial:
                got += words_of([next(lines)])
        talk.messages.append(("assistant", partial))
        for _ in range(_PATIENCE):
            if self.messages(user, session.id) == talk.messages:
                break
        self.check(user, session.id)

    @rule(user=USERS, session=sessions, stream=st.booleans(), refused=st.booleans())
    def regenerate(self, user: str, session: Known, stream: bool, refused: bool) -> None:
        talk = self.mine(user, session)
        if talk and talk.messages and refused:
            self.script("error_400")
        asked = {"stream": stream, "model": "fake"}
        answer = self.clients[user].post(f"/v1/sessions/{session.id}/regenerate", json=asked)
        if talk is None:
            self.missing(answer, session)
        elif not talk.messages:
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "nothing_to_regenerate")
        elif refused:
            assert answer.status_code == 400
        else:
            talk.forget_last_answer()
            assert said_in(answer) == talk.answer
            talk.messages.append(("assistant", talk.answer))
        if talk:
            self.check(user, session.id)


def said_in(answer: httpx.Response) -> str:
    """Return the words of an answer in any shape; a stream must be whole."""
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        assert payloads(answer.text)[-1] == "[DONE]"
        return words_of(answer.text.splitlines())
    whole = answer.json()
    message: dict[str, str] = whole["message"] if "message" in whole else whole["choices"][0]["message"]
    return message["content"]


def words_of(lines: list[str]) -> str:
    """Return the words of a stream's lines, of either kind of stream."""
    events = [json.loads(each) for each in payloads("\n".join(lines)) if each != "[DONE]"]
    parts = [event["choices"][0]["delta"] if event.get("choices") else event for event in events]
    return "".join(part.get("content") or "" for part in parts)
