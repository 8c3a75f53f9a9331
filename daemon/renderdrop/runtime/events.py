"""Every event that the daemon logs, by name, with one sentence on what it tells.

Owns: the list. Names are a contract with whoever searches or alarms on the logs: they are added, never
renamed. A test reads the program and fails on a name that is not here.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

EVENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # the service
        "service_starting": "The daemon begins; settings are read, nothing is taken yet.",
        "service_ready": "All loops run; files are taken from now on.",
        "service_stopping": "Asked to stop: nothing new is taken, what is in flight ends or is abandoned cleanly.",
        "service_stopped": "Everything is put away; the process ends.",
        "service_failed": "The daemon cannot go on; `reason` says why. Nothing is done any more.",
        "settings_reloaded": "The settings were read again and hold from now on.",
        "settings_broken": "The settings cannot be used; `key` and `reason` say why. Running ones stay.",
        "settings_warning": "The settings can be used, but `key` should be looked at.",
        "clock_jumped": "The machine's clock was set by `seconds`; periodic work is armed anew.",
        "unforeseen_error": "A fault of the program itself in `work`; its trace is worth a report.",
        "failpoint_armed": "For tests: the daemon kills itself at the commit `point` (RENDERDROP_FAILPOINT is set).",
        "library": "A library that we use warns; `logger` is its name, `message` its words.",
        # what makes work wait
        "daemon_waits": "The disk of the state folder is full; nothing new is begun, what runs goes on.",
        "daemon_goes_on": "There is room in the state folder again.",
        "cluster_left_alone": "Things went wrong on a cluster; for `seconds` jobs go to others, then one tries it.",
        "platform_waits": "The platform cannot be used now; all jobs wait, none is charged for it.",
        "platform_goes_on": "The platform can be used again.",
        "route_waits": "The route is paused; its jobs wait.",
        "route_closed": "The route sends nothing now, for its hours, its day's tasks or a person; `reason` says which.",
        "route_opened": "The route sends jobs again.",
        "route_goes_on": "The route is tried again with all its jobs.",
        "share_waits": "The route's folders cannot be used now; its jobs wait where they are.",
        "share_goes_on": "The route's folders can be used again.",
        # share → job
        "inbox_open": "A route's inbox is looked through from now on.",
        "inbox_slow": "These routes' inboxes had not answered when the service reported itself ready.",
        "inbox_swept_only": "The inbox is on a file system without events; the sweep alone finds files there.",
        "watch_refused": "The system refuses events for an inbox; the sweep finds files meanwhile.",
        "watch_renewed": "Events had stopped or overflowed; the watch was set up anew and the inbox swept.",
        "folder_unreadable": "A folder below an inbox cannot be read; what is in it waits.",
        "file_empty": "A file of no bytes lies in the inbox; it is left until it grows.",
        "file_still_written": "A file stands still but a writer has it open; it is left until that ends.",
        "bundle_waits": "Files have settled, but what they need to be a job is not there yet; `waiting_for` names it.",
        "source_brought_back": "A file was moved back into the inbox; it is a fresh job.",
        "notice_removed": "A notice of ours had come back into an inbox with its file; it holds no longer.",
        "notices_left": "Old notices in failed/ could not be removed; they do no harm.",
        # job → task
        "job_queued": "A file was accepted.",
        "job_waits_for_cluster": "A job was taken up and then had better wait for a faster cluster.",
        "job_submitting": "A job goes to `cluster`; `reason` says why that one.",
        "job_submitted": "The platform gave the job a task.",
        "job_requeued": "A job goes back to the queue; `reason` says why.",
        "job_held": "A job waits for a person's decision.",
        "job_failed": "A job ended without a result; `reason` is what its owner reads on the share.",
        "job_cancelled": "A job ended because it was no longer wanted or its file was gone or changed.",
        "task_left_behind": "A second task is begun on another cluster for one that lags; both are followed.",
        "task_taken_back": "A job goes on with the task that it had left behind; `reason` says why.",
        "task_asked_again": "A job that already has a task follows it again instead of paying for another.",
        "task_of_cancelled_job": "The platform took a job that was cancelled meanwhile, and may bill it.",
        "job_is_a_duplicate": "The very same was rendered before, by job `of`; its results are given again, unpaid.",
        "graph_read": "A route's graph was read, for the first time or because it changed.",
        "unpublished": "A picture that was published for a model is gone from the store again.",
        "unpublish_waits": "A published picture could not be removed yet; it is tried again.",
        "clusters_seen": "The platform's clusters, each with its instances and its limit.",
        "clusters_unknown": "The clusters' load could not be asked for; the last known one holds for a while.",
        # task → result
        "poll_failed": "A task could not be asked after; it is asked again, and nothing else happens to it.",
        "answer_not_understood": "The platform said something new; the task is taken to be running still.",
        "task_lags": "A task is pending long after others on other clusters have begun; nothing is done about it here.",
        "spare_task_won": "A task that was left behind has come first: its results are used.",
        "spare_task_lost": "A task that was left behind came to nothing; its job goes on with the second one.",
        "task_succeeded": "The platform has rendered a task; its outputs are fetched.",
        # result → outbox
        "output_fetched": "One output is whole on the outbox's file system, not yet under its name.",
        "download_failed": "An output could not be fetched; it is tried again, where it can from where it stopped.",
        "name_taken": "Somebody took the chosen name meanwhile; the job gets the next free one.",
        "job_delivered": "A job's results and their sidecar are in the outbox.",
        "source_filed": "A job's source lies in `place` now; `inbox` means that the route keeps its sources.",
        "source_replaced": "Another file took the source's place before it was archived; it is taken as a new one.",
        "source_gone": "The source was taken out of the inbox before it was archived.",
        "delivery_waits": "A result cannot lie where it belongs; it is tried again, then held. Other jobs go on.",
        "archive_waits": "A source could not be archived; the job stands, the source is filed later.",
        "chain_told": "A link of a chain failed; the `end` of the chain has NAME.json that says so.",
        "staging_removed": "What an earlier crash had left in staging was removed; its job was over.",
        # after a crash, and at a reload
        "job_recovered": "A submission that the last end interrupted was sorted; `reason` says how.",
        "settings_kept": "The settings that were in force stay in force.",
        "setting_needs_restart": "`key` was changed; it counts from the next start on.",
    }
)
