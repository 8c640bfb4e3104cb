"""Databases, compute and code. The first three are delivered by machines, without anybody's help."""

from config.demo_data.shapes import DAY, DemoOffering, DemoPlan, DemoStep, by_hand, one_of

_SUPPORT = one_of(
    "Support",
    "office_hours",
    ("office_hours", "Office hours", "Monday to Friday, 8:00 to 17:00"),
    ("extended", "Extended hours", "Every day, 6:00 to 22:00", "18"),
)

OFFERINGS = (
    DemoOffering(
        slug="postgresql-database",
        name="PostgreSQL database",
        category="databases",
        icon="db",
        summary="Your own relational database, ready to connect in seconds.",
        description="""\
A database of your own on a managed PostgreSQL server, and a role that may use it and nothing else.

- Host, port, database and user name are shown on the order; the password is shown once.
- Any PostgreSQL client connects: `psql`, a driver, a reporting tool.
- Lost the password? Set a new one on the order's page; the old one ends at that moment.

The plans differ in how many connections may be open and how long one statement may take.
""",
        plans=(
            DemoPlan(
                "small",
                "Small",
                "20 connections, statements up to 1 minute",
                {"monthly": "24.00"},
                {"connection_limit": 20, "statement_timeout_seconds": 60},
            ),
            DemoPlan(
                "medium",
                "Medium",
                "60 connections, statements up to 5 minutes",
                {"monthly": "68.00"},
                {"connection_limit": 60, "statement_timeout_seconds": 300},
            ),
        ),
        steps=(
            DemoStep("Creating the database", "postgresql"),
            DemoStep("Checking the connection", "postgresql", "describe"),
        ),
        form={"support": _SUPPORT},
        purposes=("development", "test", "production", "analytics"),
        data_classes=("public", "internal", "confidential"),
        delivered_within=60,
        availability="99.5",
    ),
    DemoOffering(
        slug="redis-namespace",
        name="Redis namespace",
        category="databases",
        icon="layers",
        summary="Fast keys and values for caches, counters and sessions.",
        description="""\
A user on a managed Redis server who reads and writes keys under a prefix of your own and sees no other.

- Host, port, user name and prefix are shown on the order; the password is shown once.
- Every key must begin with the prefix; the server refuses all others.
- Keys may vanish when the server restarts: keep here only what you can make again.
""",
        plans=(
            DemoPlan("small", "Small", "For up to 100 MB of keys", {"monthly": "9.00"}),
            DemoPlan("medium", "Medium", "For up to 500 MB of keys", {"monthly": "26.00"}),
        ),
        steps=(
            DemoStep("Creating the user and its prefix", "redis_acl"),
            DemoStep("Checking the access", "redis_acl", "describe"),
        ),
        form={"support": _SUPPORT},
        purposes=("development", "test", "production"),
        data_classes=("public", "internal"),
        delivered_within=60,
        availability="99.5",
    ),
    DemoOffering(
        slug="git-repository",
        name="Git repository",
        category="compute-and-code",
        icon="git",
        summary="An empty repository to keep code, scripts and configuration in.",
        description="""\
A bare repository on the company's Git storage. Clone it, commit, push: it is empty and yours.

- The address to clone from is shown on the order.
- The plans differ in how much you may keep; the service owner looks at it once a month.
""",
        plans=(
            DemoPlan("small", "Small", "For up to 1 GB of history", {"monthly": "3.00"}),
            DemoPlan("medium", "Medium", "For up to 10 GB of history", {"monthly": "8.00"}),
        ),
        steps=(
            DemoStep("Creating the repository", "git_repository"),
            DemoStep("Checking the repository", "git_repository", "describe"),
        ),
        form={
            "default_branch": {
                "type": "string",
                "title": "Default branch",
                "description": "The branch that a clone starts on.",
                "default": "main",
                "minLength": 1,
                "maxLength": 40,
                "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]*$",
                "x-pattern-message": "Default branch must be letters, digits, hyphens or underscores",
            }
        },
        purposes=("development", "test", "production", "analytics", "office"),
        data_classes=("public", "internal", "confidential"),
        delivered_within=60,
        availability="99.5",
    ),
    DemoOffering(
        slug="project-space",
        name="Project space",
        category="compute-and-code",
        icon="layers",
        summary="A database, a repository and a name of its own for a project, all at once.",
        description="""\
Everything that a small project begins with, in one order: a PostgreSQL database, a Git repository if you want one,
and a name that leads there. A mail tells you when all of it is ready.

- A name that belongs to somebody else is refused, and whatever was made before is taken away again.
- Removing the project space frees its name.
""",
        plans=(
            DemoPlan(
                "small", "Small", "A database with 20 connections", {"monthly": "29.00"}, {"connection_limit": 20}
            ),
            DemoPlan(
                "medium", "Medium", "A database with 60 connections", {"monthly": "79.00"}, {"connection_limit": 60}
            ),
        ),
        steps=(
            DemoStep("Creating the database", "postgresql"),
            DemoStep("Creating the repository", "git_repository", when="parameters.repository == true"),
            DemoStep(
                "Registering the name",
                "http",
                inputs={
                    "method": "PUT",
                    "path": "/names/${parameters.host}",
                    "body": {"owner": "${instance.id}", "target": "${outputs.host}:${outputs.port}"},
                    "outputs": {"name": "/name"},
                    "update": {
                        "method": "PUT",
                        "path": "/names/${parameters.host}",
                        "body": {"owner": "${instance.id}", "target": "${outputs.host}:${outputs.port}"},
                        "outputs": {"name": "/name"},
                    },
                    "undo": {"method": "DELETE", "path": "/names/${parameters.host}"},
                    "describe": {"method": "GET", "path": "/names/${parameters.host}"},
                },
                back_end="names",
            ),
            DemoStep(
                "Sending you a mail",
                "email",
                inputs={
                    "to": "${requester.email}",
                    "subject": "${order.name} is ready",
                    "text": "Your project space ${order.name} is there: ${outputs.name}\n\nOrder ${order.number}"
                    " shows how to reach the database. Its password is shown there once.",
                },
            ),
        ),
        form={
            "host": {
                "type": "string",
                "title": "Name of the project on the network",
                "description": "It becomes name.company.example.",
                "default": "my-project",
                "minLength": 2,
                "maxLength": 40,
                "pattern": "^[a-z0-9][a-z0-9-]*$",
                "x-pattern-message": "Name of the project on the network must be lower-case letters, digits or hyphens",
            },
            "repository": {"type": "boolean", "title": "With a Git repository", "default": True},
        },
        purposes=("development", "test", "production"),
        data_classes=("public", "internal"),
        delivered_within=60,
        availability="99.5",
    ),
    DemoOffering(
        slug="linux-virtual-machine",
        name="Linux virtual machine",
        category="compute-and-code",
        icon="server",
        summary="A patched Linux server in the research network.",
        description="""\
A virtual machine that the platform team sets up for you, usually on the same working day.

- You sign in with your company account and become administrator with `sudo`.
- Security updates are installed every Tuesday night; the machine restarts where they need it.
- Host name and address are shown on the order once the machine is there.
""",
        plans=(
            DemoPlan("small", "Small", "2 vCPU, 4 GiB of memory", {"monthly": "32.00"}),
            DemoPlan("medium", "Medium", "4 vCPU, 16 GiB of memory", {"monthly": "84.00"}),
        ),
        steps=(
            by_hand(
                "Setting up the machine",
                "1. Clone the template of the chosen distribution in the research cluster.\n"
                "2. Set processors, memory and disk as ordered.\n"
                "3. Add the person who ordered to the machine's administrators.\n"
                "4. Sign in once and check that updates are current.",
                ("host_name", "Host name"),
                ("address", "IP address"),
                due_hours=8,
            ),
        ),
        form={
            "distribution": one_of(
                "Distribution",
                "debian",
                ("debian", "Debian 12"),
                ("ubuntu", "Ubuntu 24.04 LTS"),
                ("rocky", "Rocky Linux 9"),
            ),
            "disk": {
                "type": "integer",
                "title": "Disk",
                "default": 40,
                "minimum": 20,
                "maximum": 500,
                "multipleOf": 20,
                "x-unit": "GiB",
                "x-price": "0.12",
            },
            "backup": {
                "type": "boolean",
                "title": "Back up every night",
                "description": "Kept for 30 days.",
                "default": False,
                "x-price": "7",
            },
        },
        purposes=("development", "test", "analytics"),
        data_classes=("public", "internal"),
        delivered_within=DAY,
        availability="99",
        units=("research",),
    ),
)
