"""What was ordered in the months before: told as a table, one line an order."""

from config.demo_data.past import HOUR, MINUTE, Past
from config.demo_data.past_by_people import BY_PEOPLE


def _machine(who: str, *lines: tuple[str, str, str, str, str, int, str, float, int]) -> tuple[Past, ...]:
    """Describe services that machines delivered: all of them were used for a while and removed again."""
    return tuple(
        Past(name, who, plan, account, purpose, data, days_ago, at, took, kept)
        for name, plan, account, purpose, data, days_ago, at, took, kept in lines
    )


POSTGRESQL, POSTGRESQL_MEDIUM = "postgresql-database/small", "postgresql-database/medium"
REDIS, GIT = "redis-namespace/small", "git-repository/small"

BY_MACHINE = (
    *_machine(
        "business",
        ("brand-survey", POSTGRESQL, "4200", "analytics", "internal", 171, "08:42", 0.66, 60),
        ("brand-templates", GIT, "4100", "office", "internal", 163, "13:05", 0.41, 90),
        ("webinar-signups", POSTGRESQL, "4100", "production", "confidential", 149, "09:17", 0.62, 35),
        ("landing-page-cache", REDIS, "4100", "production", "public", 140, "10:51", 0.35, 80),
        ("newsletter-statistics", POSTGRESQL_MEDIUM, "4100", "analytics", "internal", 122, "14:20", 0.71, 60),
        ("fair-leads", POSTGRESQL, "4100", "production", "confidential", 101, "07:58", 0.59, 45),
        ("campaign-scripts", GIT, "4100", "development", "internal", 84, "12:33", 0.46, 60),
        ("loyalty-trial", POSTGRESQL, "4200", "test", "internal", 70, "15:46", 0.64, 21),
        ("countdown-counters", REDIS, "4100", "production", "public", 58, "09:09", 0.33, 30),
        ("event-registration", POSTGRESQL, "4100", "production", "confidential", 47, "11:12", 0.61, 31),
        ("price-comparison", POSTGRESQL, "4200", "analytics", "internal", 33, "08:30", 0.69, 20),
        ("newsletter-drafts", GIT, "4100", "office", "internal", 26, "16:02", 0.44, 18),
        ("poll-results", POSTGRESQL, "4100", "test", "public", 12, "10:24", 0.63, 5),
    ),
    *_machine(
        "business2",
        ("alloy-samples", POSTGRESQL_MEDIUM, "5200", "production", "confidential", 176, "07:45", 0.68, 120),
        ("spectra-tools", GIT, "5200", "development", "internal", 166, "09:31", 0.43, 110),
        ("furnace-log", POSTGRESQL, "5200", "production", "internal", 152, "08:08", 0.60, 100),
        ("lab-job-queue", REDIS, "5300", "production", "internal", 133, "13:40", 0.34, 60),
        ("titration-results", POSTGRESQL, "5200", "analytics", "internal", 118, "10:15", 0.67, 50),
        ("feature-cache", REDIS, "5300", "development", "internal", 92, "14:55", 0.36, 40),
        ("model-registry", POSTGRESQL_MEDIUM, "5300", "development", "internal", 75, "09:02", 0.69, 45),
        ("lab-notebooks", GIT, "5300", "analytics", "internal", 61, "11:27", 0.47, 40),
        ("sensor-archive", POSTGRESQL_MEDIUM, "5200", "analytics", "confidential", 44, "08:19", 0.72, 30),
        ("furnace-control", GIT, "5200", "development", "internal", 29, "15:10", 0.42, 20),
        ("training-runs", POSTGRESQL, "5300", "test", "internal", 17, "09:48", 0.62, 9),
    ),
)

NOT_DELIVERED = (
    Past(
        "partner-portal",
        "business",
        POSTGRESQL_MEDIUM,
        "4100",
        "test",
        "internal",
        109,
        "10:05",
        64.0,
        ended="failed",
        why="The PostgreSQL server cannot be reached.",
    ),
    Past(
        "calibration-data",
        "business2",
        POSTGRESQL,
        "5200",
        "analytics",
        "internal",
        109,
        "10:07",
        61.0,
        ended="failed",
        why="The PostgreSQL server cannot be reached.",
    ),
    Past(
        "laptop-trainee",
        "business",
        "laptop/small",
        "4200",
        "office",
        "internal",
        90,
        "14:30",
        2.2 * HOUR,
        ended="canceled",
    ),
    Past(
        "plant-dashboard",
        "business2",
        "firewall-opening/medium",
        "5300",
        "production",
        "internal",
        35,
        "09:15",
        40 * MINUTE,
        ended="canceled",
    ),
)

OPEN = (
    Past(
        "laptop-intern",
        "business2",
        "laptop/small",
        "5200",
        "development",
        "internal",
        hours_ago=29.0,
        ended="open",
        parameters={"keyboard": "uk", "accessories": ["monitor", "headset"]},
    ),
    Past(
        "press-inquiries",
        "business",
        "shared-mailbox/small",
        "4100",
        "office",
        "internal",
        hours_ago=5.5,
        ended="open",
        parameters={"senders": "everyone"},
    ),
    Past(
        "autumn.meridian.example",
        "business",
        "dns-record/medium",
        "4100",
        "production",
        "public",
        hours_ago=1.4,
        ended="open",
    ),
    Past(
        "guest-auditor",
        "business2",
        "guest-account/small",
        "5300",
        "office",
        "internal",
        hours_ago=0.7,
        ended="open",
        parameters={"days": 5},
    ),
)

HISTORY = BY_MACHINE + BY_PEOPLE + NOT_DELIVERED + OPEN
