"""The console: a JSON API over what is stored, and the page that reads it."""
