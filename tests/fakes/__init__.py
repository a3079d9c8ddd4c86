"""Scripted peers and a manual clock."""
