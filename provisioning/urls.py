"""Routes of provisioning."""

from django.urls import path

from provisioning import views

app_name = "provisioning"
urlpatterns = [
    path("tasks/", views.manualtask_list, name="manualtask_list"),
    path("tasks/<uuid:pk>/", views.manualtask_detail, name="manualtask_detail"),
    path("tasks/<uuid:pk>/complete/", views.manualtask_complete, name="manualtask_complete"),
    path("tasks/<uuid:pk>/claim/", views.manualtask_claim, name="manualtask_claim"),
    path("tasks/<uuid:pk>/hand-back/", views.manualtask_hand_back, name="manualtask_hand_back"),
    path("tasks/<uuid:pk>/take-over/", views.manualtask_take_over, name="manualtask_take_over"),
    path("runs/", views.run_list, name="run_list"),
    path("runs/live/", views.run_list_live, name="run_list_live"),
    path("runs/retry/", views.run_retry_many, name="run_retry_many"),
    path("runs/<uuid:pk>/", views.run_detail, name="run_detail"),
    path("runs/<uuid:pk>/live/", views.run_live, name="run_live"),
    path("runs/<uuid:pk>/retry/", views.run_retry, name="run_retry"),
    path("runs/<uuid:pk>/undo/", views.run_undo, name="run_undo"),
    path("runs/<uuid:pk>/abandon/", views.run_abandon, name="run_abandon"),
    path("runs/<uuid:pk>/steps/<uuid:step>/skip/", views.step_skip, name="step_skip"),
    path("runs/<uuid:pk>/steps/<uuid:step>/resolve/", views.step_resolve, name="step_resolve"),
    path("orphans/", views.orphan_list, name="orphan_list"),
    path("back-ends/", views.backend_list, name="backend_list"),
    path("back-ends/live/", views.backend_list_live, name="backend_list_live"),
    path("back-ends/<slug:back_end>/try/", views.backend_try, name="backend_try"),
    path("back-ends/<slug:slug>/import/", views.backend_import, name="backend_import"),
    path("back-ends/<slug:slug>/import/live/", views.backend_import_live, name="backend_import_live"),
]
