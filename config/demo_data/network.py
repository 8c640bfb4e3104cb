"""Network and access: names, openings and guests."""

from config.demo_data.shapes import DAY, HOUR, DemoOffering, DemoPlan, by_hand, one_of

_ZONES = (
    ("office", "Office network"),
    ("lab", "Lab network"),
    ("plant", "Plant network"),
    ("dmz", "Servers reachable from outside"),
)

OFFERINGS = (
    DemoOffering(
        slug="guest-account",
        name="Guest account",
        category="network-and-access",
        icon="key",
        summary="Network and mail for a partner or contractor, for a limited time.",
        description="""\
An account for one person from outside. Give the order the guest's name.

- The service desk hands over the first password in person, against an identity card.
- The account ends by itself after the days that you choose.
""",
        plans=(
            DemoPlan("small", "Network only", "Guest network and printing", {"monthly": "1.00"}),
            DemoPlan("medium", "With mail", "Guest network, printing and a mailbox", {"monthly": "4.00"}),
        ),
        steps=(
            by_hand(
                "Making the account",
                "1. Check that no account of this person is open.\n"
                "2. Make the account with the end date as ordered.\n"
                "3. Print the sheet with the first password and keep it at the service desk.",
                ("sign_in_name", "Sign-in name"),
                ("ends_on", "Ends on"),
                due_hours=4,
            ),
        ),
        form={
            "days": {
                "type": "integer",
                "title": "For how long",
                "default": 30,
                "minimum": 1,
                "maximum": 180,
                "x-unit": "days",
            }
        },
        purposes=("office", "development", "test"),
        data_classes=("public", "internal"),
        delivered_within=8 * HOUR,
    ),
    DemoOffering(
        slug="dns-record",
        name="DNS record",
        category="network-and-access",
        icon="globe",
        summary="A name such as campaign.meridian.example that points where you want.",
        description="""\
Adds a name to one of the company's zones. Give the order the full name.

- The network team checks that the name is free and that its target answers.
- Changes reach everybody within the time to live that you choose.
""",
        plans=(
            DemoPlan("small", "Internal", "Seen inside the company", {"monthly": "0"}),
            DemoPlan("medium", "Public", "Seen by everyone", {"monthly": "1.00"}),
        ),
        steps=(
            by_hand(
                "Adding the record",
                "1. Check that the name is free and that nobody else has a right to it.\n"
                "2. Add the record to the internal or the public zone, as ordered.\n"
                "3. Ask two name servers for it.",
                ("record", "Record as added"),
                due_hours=4,
            ),
        ),
        form={
            "kind": one_of(
                "Kind",
                "cname",
                ("cname", "CNAME", "Points to another name"),
                ("a", "A", "Points to an address"),
                ("txt", "TXT", "Holds a text, for example a proof of ownership"),
            ),
            "target": {
                "type": "string",
                "title": "Points to",
                "description": "A name, an address or a text. The company's web server unless you change it.",
                "default": "www.meridian.example",
                "minLength": 1,
                "maxLength": 200,
            },
            "time_to_live": one_of(
                "Time to live", "hour", ("minutes", "5 minutes"), ("hour", "1 hour"), ("day", "1 day")
            ),
        },
        purposes=("development", "test", "production", "office"),
        data_classes=("public", "internal"),
        delivered_within=DAY,
        availability="99.9",
    ),
    DemoOffering(
        slug="firewall-opening",
        name="Firewall opening",
        category="network-and-access",
        icon="shield",
        summary="Lets one network zone reach another on one port.",
        description="""\
Opens one port between two zones of the company. Two people of the network team work on each opening.

- The first checks that the opening is as narrow as it can be, the second opens it.
- Every opening is looked at again after six months and closed if nobody uses it.
""",
        plans=(
            DemoPlan("small", "Temporary", "Closed again after 30 days", {"monthly": "0"}),
            DemoPlan("medium", "Lasting", "Checked every six months", {"monthly": "6.00"}),
        ),
        steps=(
            by_hand(
                "Checking the opening",
                "1. Compare zones, port and purpose with the network policy.\n"
                "2. Ask the person who ordered where they do not fit.",
                ("policy_section", "Section of the network policy"),
                due_hours=8,
            ),
            by_hand(
                "Opening the firewall",
                "1. Add the rule with the order's number as its comment.\n2. Test it from both sides.",
                ("rule_number", "Rule number"),
                due_hours=8,
            ),
        ),
        form={
            "from_zone": one_of("From", "office", *_ZONES),
            "to_zone": one_of("To", "dmz", *_ZONES),
            "port": {
                "type": "integer",
                "title": "Port",
                "default": 443,
                "minimum": 1,
                "maximum": 65535,
            },
        },
        purposes=("development", "test", "production"),
        data_classes=("public", "internal", "confidential"),
        delivered_within=2 * DAY,
    ),
)
