"""Pages, asked for as a browser does."""
