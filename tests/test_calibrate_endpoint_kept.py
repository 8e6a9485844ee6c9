"""What a server answered is kept, and the number of requests is never lost."""

import pytest
from endpoint_cases import Virtual

from calibrate import ProfileError
from calibrate.endpoint.exchange import Reply
from calibrate.endpoint.kept import Kept
from calibrate.endpoint.session import Exchange, Sent, Session

TASK = {"url": "http://h/v1", "model": "m", "api": "completions"}
SESSION = Session(2, (64, 128), 10, (32,), 1)
SERVER = {"engine": "vllm", "version": "1", "max_model_len": 4096}


def sent(session, *, failed=False, missing=0):
    exchanges = Virtual().run(session)
    if failed:
        exchanges[-1] = Exchange(64, Reply("refused", 0.0, 0.1, reason="HTTP 429"))
    return Sent(len(exchanges) + missing, exchanges)


def kept_at(path, resume=False, task=TASK):
    return Kept(path, task, resume=resume)


def test_what_was_kept_is_there_again(tmp_path):
    kept = kept_at(tmp_path / "p")
    kept.begin(13)
    kept.keep_server(SERVER, 4)
    kept.begin(SESSION.requests)
    kept.end(SESSION, sent(SESSION))
    kept.skip(Session(9, (1,), 1), "HTTP 400")
    kept.close(remove=False)
    again = kept_at(tmp_path / "p", resume=True)
    assert again.sessions.keys() == {SESSION}
    assert again.skipped == {Session(9, (1,), 1): "HTTP 400"}
    assert again.requests == kept.requests == 4 + len(Virtual().run(SESSION))
    for before, after in zip(Virtual().run(SESSION), again.sessions[SESSION], strict=True):
        assert (after.asked_tokens, after.inserted) == (before.asked_tokens, before.inserted)
        assert after.reply.token_s == pytest.approx(before.reply.token_s, abs=1e-6)
        assert after.reply.sent_s == pytest.approx(before.reply.sent_s, abs=1e-6)
    again.close(remove=True)
    assert not (tmp_path / "p").exists()


def test_a_session_that_did_not_finish_is_counted_and_not_kept(tmp_path):
    kept = kept_at(tmp_path / "p")
    kept.begin(SESSION.requests)
    kept.end(SESSION, sent(SESSION, failed=True, missing=2))
    n = len(Virtual().run(SESSION))
    assert kept.sessions == {}
    assert kept.statuses == {"finished": n - 1, "refused": 1, "cancelled": 2}
    assert kept.requests == n + 2
    kept.close(remove=False)


def test_a_run_that_was_killed_has_sent_all_it_was_about_to(tmp_path):
    kept = kept_at(tmp_path / "p")
    kept.begin(SESSION.requests)
    kept.end(SESSION, sent(SESSION))
    kept.begin(50)
    before = kept.requests
    kept._journal._file.close()  # as a kill would
    again = kept_at(tmp_path / "p", resume=True)
    assert again.requests == before == len(Virtual().run(SESSION)) + 50
    again.begin(3)
    again.end(Session(1, (8,), 3), sent(Session(1, (8,), 3)))
    assert again.requests == before + 1
    again.close(remove=False)


def test_another_server_is_refused(tmp_path):
    kept = kept_at(tmp_path / "p")
    kept.begin(1)
    kept.keep_server(SERVER, 1)
    kept.end(SESSION, sent(SESSION))
    kept.close(remove=False)
    again = kept_at(tmp_path / "p", resume=True)
    with pytest.raises(ProfileError, match=r"version '1', this one has '2'"):
        again.keep_server({**SERVER, "version": "2"}, 1)
    again.close(remove=False)


@pytest.mark.parametrize("name", ["url", "model", "api"])
def test_another_task_is_refused(tmp_path, name):
    kept = kept_at(tmp_path / "p")
    kept.end(SESSION, sent(SESSION))
    kept.close(remove=False)
    with pytest.raises(ProfileError, match=f"was measured with {name}"):
        kept_at(tmp_path / "p", resume=True, task={**TASK, name: "x"})


def test_a_file_with_nothing_in_it_does_not_stay(tmp_path):
    kept_at(tmp_path / "p").close(remove=False)
    assert not (tmp_path / "p").exists()


def test_a_line_that_is_no_session_is_named(tmp_path):
    path = tmp_path / "p"
    kept = kept_at(path)
    kept.end(SESSION, sent(SESSION))
    kept.close(remove=False)
    path.write_text(path.read_text().replace('"asked"', '"ask"'))
    with pytest.raises(ProfileError, match=r"p:2: not a measurement"):
        kept_at(path, resume=True)
