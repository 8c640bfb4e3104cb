"""What is offered: offerings, their frozen versions, plans, prices, terms of use, entitlements."""
