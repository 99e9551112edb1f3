"""The one door for bytes: local files, listings, joins, atomic replacement."""
