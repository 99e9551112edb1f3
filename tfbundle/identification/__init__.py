"""Identification of files and folders by their content."""
