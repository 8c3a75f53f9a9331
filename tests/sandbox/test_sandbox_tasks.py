"""What a poll says over a task's life, and what the books count, under a clock of our own."""

from renderdrop.sandbox.books import Books
from renderdrop.sandbox.farm import Farm, Work
from renderdrop.sandbox.tasks import Task
from renderdrop.sandbox.workflows import KNOWN


def task(work: Work) -> Task:
    return Task(230, "1234", "", KNOWN["1234"], {}, (), work, accepted_at=0.0)


def farm() -> Farm:
    return Farm(now=0.0, render_seconds=(10.0, 10.0), boot_seconds=2.0, scale_every=1.0)


def test_a_pending_task_has_no_progress_at_first() -> None:
    waiting = task(farm().accept(230, "GPU-A800x8", 0.0))  # no instance yet
    first, second = waiting.polled(0.1), waiting.polled(0.2)
    assert (first["status"], first["progress"], first["outputs"]) == ("pending", None, [])
    assert (second["status"], second["progress"]["total_progress"]) == ("pending", 0)


def test_progress_only_grows_and_names_the_running_node() -> None:
    running = task(farm().accept(230, "GPU-A800", 0.0))
    seen = [running.polled(at / 10) for at in range(100)]
    totals = [told["progress"]["total_progress"] for told in seen]
    titles = [told["progress"]["curr_node"]["title"] for told in seen]
    assert {told["status"] for told in seen} == {"running"}
    assert totals == sorted(totals)
    assert (totals[0], totals[-1]) == (0, 93)
    assert list(dict.fromkeys(titles)) == ["Load Image 加载图像", "KSampler 🎨", "VAE Decode", "Save Image 保存图像"]


def test_a_run_that_has_ended_is_running_until_its_outputs_are_there() -> None:
    place = farm()
    made = task(place.accept(230, "GPU-A800", 0.0))
    place.advance(10.0)
    made.rows = [{"id": "9", "title": "t", "output": "u", "error_type": "info"}]
    assert (made.polled(11.0)["status"], made.polled(11.0)["outputs"]) == ("running", [])
    made.status = "success"
    assert made.polled(12.0) == {
        "status": "success",
        "progress": {"curr_node": {"id": 0, "title": "Unknown Node", "progress": 0}, "total_progress": 94},
        "outputs": made.rows,
    }


def test_the_densest_second_counts_status_and_poll_calls_alone() -> None:
    books = Books()
    for at in (0.0, 0.4, 0.8, 1.2, 1.3, 1.35, 5.0):
        books.came("poll" if at < 1 else "status", with_token=True, now=at)
        books.came("view", with_token=False, now=at)
    assert books.told()["max_requests_per_second"] == 5
    assert books.told()["calls"] == {"poll": 3, "view": 7, "status": 4}
    assert books.told()["authorization_seen"]["view"] == {"without": 7}
