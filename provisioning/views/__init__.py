"""Pages: tasks that people do by hand."""

from provisioning.views.tasks import manualtask_complete, manualtask_detail, manualtask_list

__all__ = ["manualtask_complete", "manualtask_detail", "manualtask_list"]
