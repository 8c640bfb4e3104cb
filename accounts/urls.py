"""Routes of accounts."""

from django.urls import path

from accounts import views

app_name = "accounts"
urlpatterns = [
    path("sign-in/", views.sign_in, name="sign_in"),
    path("sign-out/", views.sign_out, name="sign_out"),
    path("signed-out/", views.signed_out, name="signed_out"),
    path("profile/", views.profile, name="profile"),
    path("profile/password/", views.password_change, name="password_change"),
    path("profile/password/changed/", views.password_change_done, name="password_change_done"),
    path("profile/tokens/", views.apitoken_create, name="apitoken_create"),
    path("profile/tokens/<uuid:pk>/revoke/", views.apitoken_revoke, name="apitoken_revoke"),
]
