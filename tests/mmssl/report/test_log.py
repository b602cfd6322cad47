import json

from mmssl.report.log import read_log


def epoch(number: int, **values) -> str:
    return json.dumps({"event": "epoch", "epoch": number, **values})


def test_broken_and_missing_lines_are_counted_and_left_out(tmp_path):
    lines = [
        json.dumps({"event": "start", "users": 3}),
        epoch(1, losses={"bpr": 0.5, "l2": float("nan")}, validation={"recall@20": 0.1}),
        "{not json",
        "[1, 2]",
        epoch(2, losses={"bpr": "x"}, validation={}),
        epoch(float("inf"), losses={}, validation={}),
        epoch(3, losses={"bpr": 10**400}, validation={}),
        epoch(4, losses={"bpr": 0.25}, validation={"recall@20": 0.2}),
        epoch(4, losses={"bpr": 0.2}, validation={"recall@20": 0.3}),
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + "\n" + '{"event": "epo')
    log = read_log(tmp_path / "log.jsonl")
    assert log.losses == {"bpr": [(1, 0.5), (4, 0.2)]}
    assert log.validation == {"recall@20": [(1, 0.1), (4, 0.3)]}
    assert (log.epochs, log.missing, log.unreadable) == (2, 2, 6)


def test_no_file_is_no_log(tmp_path):
    assert read_log(tmp_path / "log.jsonl") is None
