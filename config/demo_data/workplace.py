"""Workplace and collaboration: what people of the IT department hand out and set up."""

from config.demo_data.shapes import DAY, HOUR, DemoOffering, DemoPlan, by_hand, one_of

OFFERINGS = (
    DemoOffering(
        slug="laptop",
        name="Laptop",
        category="workplace",
        icon="laptop",
        summary="A laptop for work, set up with your account and programs.",
        description="""\
The service desk sets it up with your account, encrypts its disk and tells you where to collect it.

- You get it within two working days; the order shows the serial number and the place.
- The monthly price covers repair, replacement and the standard programs.
- After four years the laptop is exchanged for a new one.
""",
        plans=(
            DemoPlan(
                "small",
                "Small",
                "14 inch, 16 GiB of memory, 512 GB disk",
                {"one_off": "1190.00", "monthly": "18.00"},
            ),
            DemoPlan(
                "medium",
                "Medium",
                "16 inch, 32 GiB of memory, 1 TB disk",
                {"one_off": "1790.00", "monthly": "24.00"},
            ),
        ),
        steps=(
            by_hand(
                "Preparing the laptop",
                "1. Take a laptop of the ordered size from the shelf and note its serial number.\n"
                "2. Install the standard image with the chosen keyboard layout.\n"
                "3. Check that the disk is encrypted and that the recovery key is stored.\n"
                "4. Put the chosen accessories with it and bring everything to the service desk.",
                ("serial_number", "Serial number"),
                ("collect_at", "Where to collect it"),
                due_hours=48,
            ),
        ),
        form={
            "keyboard": one_of(
                "Keyboard",
                "us",
                ("us", "US English"),
                ("uk", "UK English"),
                ("de", "German"),
                ("fr", "French"),
            ),
            "accessories": {
                "type": "array",
                "title": "Accessories",
                "description": "Yours for as long as you have the laptop.",
                "default": [],
                "uniqueItems": True,
                "items": {
                    "oneOf": [
                        {"const": "dock", "title": "Docking station", "x-price": "4"},
                        {"const": "monitor", "title": "27-inch monitor", "x-price": "6"},
                        {"const": "headset", "title": "Headset", "x-price": "2"},
                    ]
                },
            },
        },
        purposes=("office", "development", "analytics"),
        data_classes=("public", "internal", "confidential"),
        delivered_within=2 * DAY,
    ),
    DemoOffering(
        slug="software-license",
        name="Design software license",
        category="workplace",
        icon="spark",
        summary="A named license for layout, photo or video work.",
        description="""\
A license in your name for one of the design programs that the company has a contract for.

- Install the program from the software center; it finds the license by your account.
- The license runs month by month and can be given back at any time.
""",
        plans=(
            DemoPlan("small", "One program", "The program that you choose below", {"monthly": "29.00"}),
            DemoPlan("medium", "All programs", "Layout, photo and video together", {"monthly": "59.00"}),
        ),
        steps=(
            by_hand(
                "Assigning the license",
                "1. Assign a free license in the vendor's portal to the company account.\n"
                "2. If none is free, order one more under the frame contract.",
                ("licensed_account", "Licensed account"),
                due_hours=8,
            ),
        ),
        form={
            "program": one_of(
                "Program",
                "layout",
                ("layout", "Layout", "Brochures, posters, books"),
                ("photo", "Photo", "Editing and retouching"),
                ("video", "Video", "Cutting and titles"),
            )
        },
        purposes=("office", "production"),
        data_classes=("public", "internal"),
        delivered_within=8 * HOUR,
        units=("marketing",),
    ),
    DemoOffering(
        slug="meeting-room-display",
        name="Meeting room display",
        category="workplace",
        icon="grid",
        summary="A large screen with camera and microphone, mounted in your room.",
        description="""\
A display with camera, microphone and speakers for video meetings. Building services mount it.

- One cable connects any company laptop.
- The price covers mounting, repair and a yearly check.
""",
        plans=(
            DemoPlan(
                "small",
                "55 inch",
                "For rooms of up to six people",
                {"one_off": "1450.00", "monthly": "12.00"},
            ),
            DemoPlan(
                "medium",
                "75 inch",
                "For rooms of up to fourteen people",
                {"one_off": "2380.00", "monthly": "16.00"},
            ),
        ),
        steps=(
            by_hand(
                "Mounting the display",
                "1. Agree on a date with the person who ordered.\n"
                "2. Mount the display and connect it to power and network.\n"
                "3. Hold a test call and label the display with its inventory number.",
                ("inventory_number", "Inventory number"),
                due_hours=120,
            ),
        ),
        form={
            "mount": one_of(
                "Mount",
                "wall",
                ("wall", "On the wall"),
                ("stand", "On a rolling stand", "Can be moved between rooms", "3"),
            )
        },
        purposes=("office",),
        data_classes=("public", "internal", "confidential"),
        delivered_within=10 * DAY,
        paused="The supplier delivers no displays before the end of the quarter.",
    ),
    DemoOffering(
        slug="shared-mailbox",
        name="Shared mailbox",
        category="collaboration",
        icon="mail",
        summary="One address that a whole team reads and answers.",
        description="""\
An address such as `events@meridian.example` that appears in your mail program beside your own.

- You name its members; each reads and answers with his own account, without another password.
- Mail is kept for as long as the mailbox exists.
""",
        plans=(
            DemoPlan("small", "Small", "10 GB of mail", {"monthly": "2.00"}),
            DemoPlan("medium", "Medium", "50 GB of mail", {"monthly": "5.00"}),
        ),
        steps=(
            by_hand(
                "Setting up the mailbox",
                "1. Make the mailbox under the order's name and set its size.\n"
                "2. Make the person who ordered its owner; he adds the members.\n"
                "3. Send a test message from outside, if the mailbox receives from outside.",
                ("mail_address", "Mail address"),
                due_hours=4,
            ),
        ),
        form={
            "senders": one_of(
                "Who may write to it",
                "company",
                ("company", "People of the company"),
                ("everyone", "Everyone", "Also people outside the company"),
            )
        },
        purposes=("office", "production"),
        data_classes=("public", "internal"),
        delivered_within=8 * HOUR,
        availability="99.9",
    ),
    DemoOffering(
        slug="file-share",
        name="Team file share",
        category="collaboration",
        icon="folder",
        summary="A folder for your team, with snapshots and your own access list.",
        description="""\
A network folder that your team sees as a drive. You decide who reads and who writes.

- Snapshots every hour: bring back deleted files yourself.
- The path is shown on the order.
""",
        plans=(
            DemoPlan("small", "Standard", "For documents", {"monthly": "4.00"}),
            DemoPlan("medium", "Fast", "For pictures, video and large tables", {"monthly": "11.00"}),
        ),
        steps=(
            by_hand(
                "Setting up the share",
                "1. Make the folder on the storage of the ordered speed and set its size.\n"
                "2. Make one group that reads and one that writes; the person who ordered owns both.\n"
                "3. Switch on hourly snapshots.",
                ("path", "Path"),
                due_hours=8,
            ),
        ),
        form={
            "size": {
                "type": "integer",
                "title": "Size",
                "default": 50,
                "minimum": 10,
                "maximum": 2000,
                "multipleOf": 10,
                "x-unit": "GB",
                "x-price": "0.04",
            },
            "snapshots": one_of(
                "Keep snapshots for",
                "week",
                ("week", "One week"),
                ("month", "One month", "For work that is checked at the end of the month", "3"),
            ),
        },
        purposes=("office", "analytics", "production"),
        data_classes=("public", "internal", "confidential"),
        delivered_within=DAY,
        availability="99.9",
    ),
)
