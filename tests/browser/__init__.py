"""The site in a real Chromium, with a real web process and a real worker."""
