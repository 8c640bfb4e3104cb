"""What each connector takes and gives: data, so that the catalog can refuse a workflow that names anything else.

A third party adds a dict like CONNECTORS in a module of his own and names it in the variable EXTRA_CONNECTORS.

| key | says |
|---|---|
| `class` | where the connector is |
| `inputs` | what a workflow step may give it; the plan's limits of these names too |
| `outputs` | what it gives to later steps and to the person; `*`: what the step's inputs or a person say |
| `secrets` | passwords that we draw and it sets; `*`: those that the input `secrets` names, or the back end gives |
| `idempotency` | `key`, `lookup` or `none`; the step's input `idempotency`, where declared, goes before it |
| `paths` | JSON pointers to the inputs that are paths of addresses: values put into them are percent-encoded |
| `queue` | `default`, or `long` for work in a child process of up to an hour |
| `back_end` | `none`: knows its place from the settings; `needed`: the step must name a row of the back ends |
| `config`, `credentials` | what such a row holds in the open, and encrypted |
| `limit` | calls at a time, where the row says nothing else |
"""

from typing import Any

CONNECTORS: dict[str, dict[str, Any]] = {
    "http": {
        "class": "provisioning.connectors.http.Http",
        "inputs": [
            "method",
            "path",
            "headers",
            "body",
            "success",
            "outputs",
            "secret_outputs",
            "external_ref",
            "poll",
            "wait_for_callback",
            "undo",
            "update",
            "describe",
            "rotate",
            "secrets",
            "idempotency",
        ],
        "outputs": ["*"],
        "secrets": ["*"],
        "idempotency": "key",
        "back_end": "needed",
        "paths": [
            f"{of}{path}"
            for of in ("", "/undo", "/update", "/describe", "/rotate")
            for path in ("/path", "/poll/path", "/poll/result")
        ],
        "config": ["auth", "username", "header", "ca_certificate"],
        "credentials": ["token", "password", "hmac_key", "callback_secrets"],
    },
    "osb": {
        "class": "provisioning.connectors.osb.OpenServiceBroker",
        "inputs": [
            "service_id",
            "plan_id",
            "parameters",
            "bind",
            "bind_parameters",
            "maintenance_info",
            "maximum_polling_duration",
            "parameter_names",
            "plan_updateable",
            "instances_retrievable",
        ],
        "outputs": ["dashboard_url"],
        "secrets": ["*"],
        "idempotency": "key",
        "back_end": "needed",
        "config": ["username"],
        "credentials": ["password", "token"],
    },
    "postgresql": {
        "class": "provisioning.connectors.postgresql.PostgreSQL",
        "inputs": ["connection_limit", "statement_timeout_seconds"],
        "outputs": ["host", "port", "database", "username"],
        "secrets": ["password"],
        "idempotency": "lookup",
    },
    "redis_acl": {
        "class": "provisioning.connectors.redis_acl.RedisAcl",
        "inputs": [],
        "outputs": ["host", "port", "username", "key_prefix"],
        "secrets": ["password"],
        "idempotency": "lookup",
    },
    "git_repository": {
        "class": "provisioning.connectors.git_repository.GitRepository",
        "inputs": ["default_branch"],
        "outputs": ["clone_url", "default_branch"],
        "secrets": [],
        "idempotency": "lookup",
    },
    "manual": {
        "class": "provisioning.connectors.manual.Manual",
        "inputs": ["instructions", "assignee_role", "output_fields", "due_hours"],
        "outputs": ["*"],
        "secrets": [],
        "idempotency": "key",
    },
    "ansible": {
        "class": "provisioning.connectors.ansible.Ansible",
        "inputs": ["playbook", "undo_playbook", "variables", "limit", "outputs", "secrets"],
        "outputs": ["*"],
        "secrets": ["*"],
        "idempotency": "lookup",
        "queue": "long",
    },
    "terraform": {
        "class": "provisioning.connectors.terraform.Terraform",
        "inputs": ["module", "workspace", "variables", "outputs", "secret_outputs"],
        "outputs": ["*"],
        "secrets": ["*"],
        "idempotency": "lookup",
        "queue": "long",
    },
    "awx": {
        "class": "provisioning.connectors.awx.Awx",
        "inputs": ["template", "kind", "extra_vars", "survey", "limit", "undo_template", "outputs"],
        "outputs": ["*"],
        "secrets": [],
        "idempotency": "lookup",
        "back_end": "needed",
        "config": ["username", "ca_certificate"],
        "credentials": ["token", "password"],
    },
    "kubernetes": {
        "class": "provisioning.connectors.kubernetes.Kubernetes",
        "inputs": ["manifests", "namespace", "ready", "outputs", "secret_outputs", "secrets"],
        "outputs": ["*"],
        "secrets": ["*"],
        "idempotency": "lookup",
        "back_end": "needed",
        "config": ["ca_certificate"],
        "credentials": ["token"],
    },
    "ldap_group": {
        "class": "provisioning.connectors.ldap_group.LdapGroup",
        "inputs": ["group", "member", "attribute"],
        "outputs": ["group", "member"],
        "secrets": [],
        "idempotency": "lookup",
        "back_end": "needed",
        "config": ["bind_dn", "base_dn", "user_attribute", "encryption", "ca_certificate"],
        "credentials": ["password"],
    },
    "dns_record": {
        "class": "provisioning.connectors.dns_record.DnsRecord",
        "inputs": ["zone", "name", "type", "value", "ttl"],
        "outputs": ["fqdn"],
        "secrets": [],
        "idempotency": "lookup",
        "back_end": "needed",
        "config": ["key_name", "algorithm"],
        "credentials": ["key"],
    },
    "email": {
        "class": "provisioning.connectors.email.Email",
        "inputs": ["to", "subject", "text"],
        "outputs": [],
        "secrets": [],
        "idempotency": "none",
    },
}
