"""Routes of provisioning."""

app_name = "provisioning"
urlpatterns: list = []
