"""Recipes to run as they are or to take home and change."""
