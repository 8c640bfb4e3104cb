"""What its owner does with a delivered service: see its password once, set a new one."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models.functions import Now

from core import events, secrets
from core.permissions import require
from core.problems import Conflict
from core.states import move
from provisioning.connectors import connector
from provisioning.models import Run, Secret, ServiceInstance, Step
from provisioning.services.lifecycle import context_in_force, steps_in_force
from provisioning.services.runs import start_run


def _require_holder(instance: ServiceInstance, permission: str, actor: Any) -> None:
    require(actor, permission, instance)
    if instance.owner_id != actor.pk:
        raise PermissionDenied("Only the person whose service this is may do that.")


@transaction.atomic
def reveal(instance: ServiceInstance, *, actor: Any) -> dict[str, str]:
    """Give the passwords in force, once: a second call raises Conflict `already-revealed`."""
    _require_holder(instance, "provisioning.reveal_secret", actor)
    if instance.state not in {ServiceInstance.State.ACTIVE, ServiceInstance.State.SUSPENDED}:
        raise Conflict(
            "not-ready",
            f"{instance.name} is {instance.get_state_display().lower()}; there is nothing to show now.",
        )
    in_force = Secret.objects.filter(instance=instance, in_force_at__isnull=False, superseded_at__isnull=True)
    shown = set(in_force.filter(revealed_at__isnull=True).select_for_update().values_list("pk", flat=True))
    if not shown or in_force.filter(pk__in=shown).update(revealed_at=Now(), revealed_to=actor) != len(shown):
        if not in_force.exists():
            raise Conflict("no-credentials", f"{instance.name} has no password.")
        raise Conflict("already-revealed", "The password was shown before. Set a new one if it is lost.")
    rows = Secret.objects.filter(pk__in=shown)
    values = {row.name: secrets.decrypt(row.ciphertext, bound_to=row.pk) for row in rows}
    events.record("secret.revealed", instance, actor=actor, names=sorted(values))
    return values


@transaction.atomic
def rotate(instance: ServiceInstance, *, actor: Any) -> Run:
    """Set new passwords at the back ends; the old ones stay in force until it took the new ones.

    Raises Conflict where there is none to change or another change is under way.
    """
    _require_holder(instance, "provisioning.rotate_secret", actor)
    with_passwords = set(Secret.objects.filter(instance=instance).values_list("step_id", flat=True))
    made_by = [step for step in steps_in_force(instance) if step.pk in with_passwords]
    if not made_by:
        raise Conflict("no-credentials", f"{instance.name} has no password.")
    made_by = [step for step in made_by if connector(step.connector).rotates(step.inputs)]
    if not made_by:
        raise Conflict("no-rotation", f"The back end of {instance.name} cannot set a new password.")
    if instance.state == ServiceInstance.State.UPDATING:
        raise Conflict("change-running", "A change is under way. Wait until it is done.", retry_after=2)
    move(instance, ServiceInstance.State.UPDATING, actor=actor, because="new password")
    steps = [
        Step(
            name="Setting a new password",
            connector=step.connector,
            back_end=step.back_end,
            operation="rotate",
            inputs=step.inputs,
            external_ref=step.external_ref,
            queue=step.queue,
        )
        for step in made_by
    ]
    begun = start_run(instance, Run.Kind.ROTATE, steps, context=context_in_force(instance), order_ref=None, actor=actor)
    events.record_all(begun.events)
    return begun.run


def rotate_keys(*, batch: int = 500) -> int:
    """Encrypt every stored secret anew with the first of ENCRYPTION_KEYS; give how many were.

    Raises core.secrets.Unreadable where no key opens one; what was done stays done, and a second run
    goes on from there.
    """
    done = 0
    last = None
    while True:
        with transaction.atomic():
            rows = Secret.objects.order_by("pk")
            rows = (rows.filter(pk__gt=last) if last else rows).select_for_update()[:batch]
            page = list(rows)
            for row in page:
                row.ciphertext = secrets.rotate(row.ciphertext)
            Secret.objects.bulk_update(page, ["ciphertext"])
        if not page:
            return done
        done, last = done + len(page), page[-1].pk
